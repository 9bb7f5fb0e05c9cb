// SPDX-License-Identifier: Apache-2.0
#include "io/json.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.hpp"

namespace ss1 {
namespace {

using parser = nlohmann::json;  // its containers allocate when they are destroyed; only its lexer and scalars are used

constexpr size_t printable_limit = 160;

// An upper bound: each value but the first follows a comma or opens a container.
size_t count_values(std::string_view text) noexcept {
    return 1 + static_cast<size_t>(
                   std::count_if(text.begin(), text.end(), [](char c) { return c == ',' || c == '[' || c == '{'; }));
}

}  // namespace

// Receives the parse events. Values gather from the front of the block of nodes; when a container ends, its members,
// which are then final, move to the back.
class json_builder {
  public:
    json_builder(std::string_view text, const json_limits &limits, json_document &document)
        : limits_(limits), capacity_(std::min(count_values(text), limits.values)) {
        document.nodes_ = std::make_unique_for_overwrite<json[]>(capacity_);
        document.text_ = std::make_unique_for_overwrite<char[]>(text.size());
        nodes_ = document.nodes_.get();
        done_ = nodes_ + capacity_;
        text_ = document.text_.get();
        document.root_ = nodes_;
    }

    const std::string &error() const noexcept { return error_; }
    size_t error_position() const noexcept { return error_position_; }

    bool null() { return add(json()); }
    bool boolean(bool value) { return add(number(json_kind::boolean, value)); }
    bool number_unsigned(uint64_t value) { return add(number(json_kind::natural, value)); }
    bool number_integer(int64_t value) {
        json node = number(json_kind::integer, 0);
        node.value_.integer = value;
        return add(node);
    }
    bool number_float(double value, const std::string &) {
        json node = number(json_kind::real, 0);
        node.value_.real = value;
        return add(node);
    }
    bool string(const std::string &value) {
        json node = number(json_kind::string, 0);
        node.value_.text = copy(value);
        node.size_ = value.size() & max_size;
        return add(node);
    }
    bool binary(const parser::binary_t &) { return refuse("binary value"); }
    bool start_object(size_t) { return open(json_kind::object); }
    bool start_array(size_t) { return open(json_kind::array); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }

    bool key(const std::string &name) {
        key_ = copy(name);
        key_bytes_ = static_cast<uint32_t>(name.size());
        return true;
    }

    bool parse_error(size_t position, const std::string &, const parser::exception &exception) {
        const std::string_view what =
            exception.what();  // "[json.exception...] parse error at line 1, column 2: reason"
        const size_t reason = what.find(": ");
        error_position_ = position;
        return refuse(printable(what.substr(reason == what.npos ? 0 : reason + 2)));
    }

  private:
    static constexpr uint32_t max_size = (uint32_t{1} << 28) - 1;

    static json number(json_kind kind, uint64_t value) noexcept {
        json node = json();
        node.kind_ = static_cast<uint32_t>(kind) & 7;
        node.value_.natural = value;
        return node;
    }

    // The strings of a text are not longer than the text.
    const char *copy(const std::string &text) noexcept {
        char *const begin = text_;
        text_ = std::copy(text.begin(), text.end(), begin);
        return begin;
    }

    bool refuse(std::string reason) {
        error_ = std::move(reason);
        return false;
    }

    bool add(json node) {
        if (values_ == capacity_) return refuse("more than " + std::to_string(limits_.values) + " values");
        if (!open_.empty() && nodes_[open_.back()].is_object()) {
            node.key_ = key_;
            node.key_bytes_ = key_bytes_;
        }
        nodes_[waiting_++] = node;
        ++values_;
        return true;
    }

    bool open(json_kind kind) {
        if (open_.size() == limits_.depth) return refuse("deeper than " + std::to_string(limits_.depth) + " levels");
        if (!add(number(kind, 0))) return false;
        open_.push_back(waiting_ - 1);
        return true;
    }

    bool close() {
        json &container = nodes_[open_.back()];
        json *const first = &container + 1;
        const size_t n = waiting_ - open_.back() - 1;
        if (container.is_object() && !sort(first, first + n)) return false;
        done_ -= n;
        std::memmove(static_cast<void *>(done_), first, n * sizeof(json));
        container.value_.members = done_;
        container.size_ = n & max_size;
        waiting_ -= n;
        open_.pop_back();
        return true;
    }

    // Sorts the members of an object, and refuses a key that occurs twice.
    bool sort(json *begin, json *end) {
        const auto less = [](const json &a, const json &b) { return a.key() < b.key(); };
        if (!std::is_sorted(begin, end, less)) std::sort(begin, end, less);
        const json *const twice =
            std::adjacent_find(begin, end, [](const json &a, const json &b) { return a.key() == b.key(); });
        return twice == end || refuse("duplicate key '" + printable(twice->key()) + "'");
    }

    const json_limits &limits_;
    size_t capacity_, values_ = 0, waiting_ = 0;  // waiting: values at the front
    json *nodes_, *done_;                         // done: the first value at the back
    char *text_;
    std::vector<size_t> open_;
    const char *key_ = nullptr;
    uint32_t key_bytes_ = 0;
    std::string error_;
    size_t error_position_ = 0;
};

constinit const json json_document::null = json();

const char *json::type_name() const noexcept {
    static constexpr const char *names[] = {"null",   "boolean", "number", "number",
                                            "number", "string",  "array",  "object"};
    return names[kind_];
}

double json::number() const noexcept {
    switch (kind()) {
        case json_kind::natural:
            return static_cast<double>(value_.natural);
        case json_kind::integer:
            return static_cast<double>(value_.integer);
        case json_kind::real:
            return value_.real;
        default:
            return 0;
    }
}

const json *json::find(std::string_view name) const noexcept {
    if (!is_object()) return nullptr;
    const json *const found =
        std::lower_bound(begin(), end(), name, [](const json &member, std::string_view n) { return member.key() < n; });
    if (found == end() || found->key() != name || (hides_nulls_ && found->is_null())) return nullptr;
    return found;
}

json json::without_nulls() const noexcept {
    json object = *this;
    object.hides_nulls_ = 1;
    return object;
}

std::string json::text() const {
    switch (kind()) {
        case json_kind::natural:
            return std::to_string(value_.natural);
        case json_kind::integer:
            return std::to_string(value_.integer);
        case json_kind::real:
            return parser(value_.real).dump();
        default:
            return type_name();
    }
}

std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (out.size() >= printable_limit) return out + "...";
        if (c >= 0x20 && c < 0x7f) {
            out += c;
        } else {
            char escaped[5];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
            out += escaped;
        }
    }
    return out;
}

bool is_name(std::string_view text) noexcept {
    return !text.empty() && text.size() <= 512 && std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    });
}

ss1_status json_parse(std::string_view text, const char *label, const json_limits &limits, json_document &out) {
    SS1_CHECK(text.size() <= limits.bytes, SS1_ERROR_FORMAT, "%s: %zu bytes of JSON, the limit is %zu", label,
              text.size(), limits.bytes);
    // nlohmann ends the text at a zero byte and skips a byte order mark.
    const size_t zero = text.find('\0');
    SS1_CHECK(zero == text.npos, SS1_ERROR_FORMAT, "%s: zero byte at byte %zu of the JSON", label, zero);
    SS1_CHECK(!text.starts_with("\xef\xbb\xbf"), SS1_ERROR_FORMAT, "%s: the JSON starts with a byte order mark", label);
    json_document document;
    json_builder builder(text, limits, document);
    if (parser::sax_parse(text.begin(), text.end(), &builder)) {
        out = std::move(document);
        return SS1_OK;
    }
    if (builder.error_position()) {
        return fail(SS1_ERROR_FORMAT, "%s: invalid JSON at byte %zu: %s", label, builder.error_position(),
                    builder.error().c_str());
    }
    return fail(SS1_ERROR_FORMAT, "%s: refused JSON: %s", label, builder.error().c_str());
}

ss1_status json_is_object(const json &value, const std::string &where) {
    SS1_CHECK(value.is_object(), SS1_ERROR_FORMAT, "%s: is of type %s, must be an object", where.c_str(),
              value.type_name());
    return SS1_OK;
}

ss1_status json_member(const json &object, const std::string &where, const char *name, key need, const json *&out) {
    out = object.find(name);
    SS1_CHECK(out || need == key::optional, SS1_ERROR_FORMAT, "%s: key '%s' is missing", where.c_str(), name);
    return SS1_OK;
}

ss1_status json_size_value(const json &value, const std::string &where, size_t min, size_t max, size_t &out) {
    SS1_CHECK(value.is_natural(), SS1_ERROR_FORMAT, "%s: is %s, must be a whole number >= 0", where.c_str(),
              printable(value.text()).c_str());
    const size_t size = value.natural();
    SS1_CHECK(size >= min && size <= max, SS1_ERROR_FORMAT, "%s: is %zu, must be in [%zu, %zu]", where.c_str(), size,
              min, max);
    out = size;
    return SS1_OK;
}

ss1_status json_size(const json &object, const std::string &where, const char *name, key need, size_t min, size_t max,
                     size_t &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, need, value));
    return value ? json_size_value(*value, where + ": " + name, min, max, out) : SS1_OK;
}

ss1_status json_bool(const json &object, const std::string &where, const char *name, key need, bool &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, need, value));
    if (!value) return SS1_OK;
    SS1_CHECK(value->is_boolean(), SS1_ERROR_FORMAT, "%s: %s: is of type %s, must be true or false", where.c_str(),
              name, value->type_name());
    out = value->boolean();
    return SS1_OK;
}

ss1_status json_number(const json &object, const std::string &where, const char *name, key need, double &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, need, value));
    if (!value) return SS1_OK;
    SS1_CHECK(value->is_number(), SS1_ERROR_FORMAT, "%s: %s: is of type %s, must be a number", where.c_str(), name,
              value->type_name());
    out = value->number();
    return SS1_OK;
}

ss1_status json_string(const json &object, const std::string &where, const char *name, key need, std::string &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, need, value));
    if (!value) return SS1_OK;
    SS1_CHECK(value->is_string(), SS1_ERROR_FORMAT, "%s: %s: is of type %s, must be a string", where.c_str(), name,
              value->type_name());
    out = value->string();
    return SS1_OK;
}

ss1_status json_array(const json &object, const std::string &where, const char *name, const json *&out) {
    SS1_TRY(json_member(object, where, name, key::required, out));
    SS1_CHECK(out->is_array(), SS1_ERROR_FORMAT, "%s: %s: is of type %s, must be an array", where.c_str(), name,
              out->type_name());
    return SS1_OK;
}

ss1_status json_only_keys(const json &object, const std::string &where, std::initializer_list<std::string_view> known) {
    for (const json &member : object) {
        SS1_CHECK(std::find(known.begin(), known.end(), member.key()) != known.end(), SS1_ERROR_FORMAT,
                  "%s: unknown key '%s'", where.c_str(), printable(member.key()).c_str());
    }
    return SS1_OK;
}

}  // namespace ss1
