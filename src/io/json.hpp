// SPDX-License-Identifier: Apache-2.0
// Parses JSON from untrusted files into a flat tree: strict, bounded, and no exceptions except std::bad_alloc. A
// document is two blocks of memory: it is destroyed without allocating, so running out of memory while it exists is an
// error only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "ss1/ss1.h"

namespace ss1 {

enum class json_kind : uint32_t { null, boolean, integer, natural, real, string, array, object };  // integer: below 0

// One value, valid as long as its document. Containers hold their members side by side; those of an object are sorted
// by key.
class json {
  public:
    json_kind kind() const noexcept { return static_cast<json_kind>(kind_); }
    const char *type_name() const noexcept;
    bool is_null() const noexcept { return kind() == json_kind::null; }
    bool is_boolean() const noexcept { return kind() == json_kind::boolean; }
    bool is_natural() const noexcept { return kind() == json_kind::natural; }
    bool is_number() const noexcept { return kind() >= json_kind::integer && kind() <= json_kind::real; }
    bool is_string() const noexcept { return kind() == json_kind::string; }
    bool is_array() const noexcept { return kind() == json_kind::array; }
    bool is_object() const noexcept { return kind() == json_kind::object; }

    // Each is for the kinds that its name says, and gives 0, false or nothing for all others.
    bool boolean() const noexcept { return is_boolean() && value_.natural; }
    uint64_t natural() const noexcept { return is_natural() ? value_.natural : 0; }
    double number() const noexcept;
    std::string_view string() const noexcept { return is_string() ? std::string_view(value_.text, size_) : ""; }
    std::string_view key() const noexcept { return {key_, key_bytes_}; }  // of a member of an object

    size_t size() const noexcept { return is_array() || is_object() ? size_ : 0; }
    const json *begin() const noexcept { return size() ? value_.members : nullptr; }
    const json *end() const noexcept { return size() ? value_.members + size_ : nullptr; }
    const json &operator[](size_t i) const noexcept { return value_.members[i]; }  // i < size()
    const json *find(std::string_view name) const noexcept;                        // NULL: an object lacks it

    // The same object, in which find() does not see members that are null: Hugging Face writes null for a default.
    json without_nulls() const noexcept;

    // A number as JSON, the name of the type for all others.
    std::string text() const;

  private:
    friend class json_builder;

    // No member has an initialiser, so that a block of values needs no pass over its memory.
    const char *key_;
    uint32_t key_bytes_;
    uint32_t kind_ : 3, hides_nulls_ : 1, size_ : 28;  // size: bytes of a string, members of a container
    union {
        uint64_t natural;
        int64_t integer;
        double real;
        const char *text;
        const json *members;
    } value_;
};

class json_document {
  public:
    const json &root() const noexcept { return *root_; }

  private:
    friend class json_builder;

    static const json null;
    std::unique_ptr<json[]> nodes_;
    std::unique_ptr<char[]> text_;  // keys and strings
    const json *root_ = &null;
};

struct json_limits {
    size_t bytes = size_t{16} << 20;  // at most 2^28 - 1
    size_t depth = 16;
    size_t values = size_t{1} << 21;  // 48 MB
};

// Parses RFC 8259 strictly: duplicate keys, a byte order mark, a zero byte, invalid UTF-8 and anything after the value
// are SS1_ERROR_FORMAT. Messages name the text `label` and give the position in bytes from its start.
ss1_status json_parse(std::string_view text, const char *label, const json_limits &limits, json_document &out);

// Formats `text` for a message: ASCII, with control characters and other bytes as \xNN, at most about 160 characters.
std::string printable(std::string_view text);

// Whether `text` is a valid name: 1 to 512 bytes, no control characters. The JSON parser has checked that it is UTF-8.
bool is_name(std::string_view text) noexcept;

enum class key { required, optional };

// Read a member of `object`, which messages call `where` ("model/config.json: tables[3]"). An absent optional member
// leaves `out` unchanged; an absent required one, a wrong type or a value out of range is SS1_ERROR_FORMAT.
ss1_status json_is_object(const json &value, const std::string &where);
ss1_status json_member(const json &object, const std::string &where, const char *name, key need, const json *&out);
ss1_status json_size(const json &object, const std::string &where, const char *name, key need, size_t min, size_t max,
                     size_t &out);
ss1_status json_bool(const json &object, const std::string &where, const char *name, key need, bool &out);
ss1_status json_number(const json &object, const std::string &where, const char *name, key need, double &out);
ss1_status json_string(const json &object, const std::string &where, const char *name, key need, std::string &out);
ss1_status json_array(const json &object, const std::string &where, const char *name, const json *&out);
ss1_status json_only_keys(const json &object, const std::string &where, std::initializer_list<std::string_view> known);

// Reads a value that is not a member of an object, e.g. an element of the array `where`.
ss1_status json_size_value(const json &value, const std::string &where, size_t min, size_t max, size_t &out);

}  // namespace ss1
