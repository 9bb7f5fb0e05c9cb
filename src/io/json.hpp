// SPDX-License-Identifier: Apache-2.0
// Parses JSON from untrusted files: strict, bounded, and no exceptions except std::bad_alloc.
#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "ss1/ss1.h"

namespace ss1 {

using json = nlohmann::json;

struct json_limits {
    size_t bytes = size_t{16} << 20;
    size_t depth = 16;
    size_t values = size_t{1} << 21;  // keeps the tree of the largest accepted text below about 300 MB
};

// Parses RFC 8259 strictly: duplicate keys, a byte order mark, U+0000, invalid UTF-8 and anything after the value are
// SS1_ERROR_FORMAT. Messages name the text `label` and give the position in bytes from its start.
ss1_status json_parse(std::string_view text, const char *label, const json_limits &limits, json &out);

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
ss1_status json_only_keys(const json &object, const std::string &where, std::initializer_list<std::string_view> known);

// Reads a value that is not a member of an object, e.g. an element of the array `where`.
ss1_status json_size_value(const json &value, const std::string &where, size_t min, size_t max, size_t &out);

}  // namespace ss1
