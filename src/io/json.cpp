// SPDX-License-Identifier: Apache-2.0
#include "io/json.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/status.hpp"

namespace ss1 {
namespace {

constexpr size_t printable_limit = 160;

// Receives nlohmann's parse events and builds the tree. The library's own tree builder would accept duplicate keys and
// keep the last.
class tree_builder {
  public:
    tree_builder(const json_limits &limits, json &root) : limits_(limits), root_(root) {}

    const std::string &error() const noexcept { return error_; }
    size_t error_position() const noexcept { return error_position_; }

    bool null() { return add(nullptr); }
    bool boolean(bool value) { return add(value); }
    bool number_integer(json::number_integer_t value) { return add(value); }
    bool number_unsigned(json::number_unsigned_t value) { return add(value); }
    bool number_float(json::number_float_t value, const std::string &) { return add(value); }
    bool string(std::string &value) { return add(std::move(value)); }
    bool binary(json::binary_t &) { return refuse("binary value"); }
    bool start_object(size_t) { return open(json::object()); }
    bool start_array(size_t) { return open(json::array()); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }

    bool key(std::string &name) {
        if (open_.back()->contains(name)) return refuse("duplicate key '" + printable(name) + "'");
        key_ = std::move(name);
        return true;
    }

    bool parse_error(size_t position, const std::string &, const json::exception &exception) {
        const std::string_view what =
            exception.what();  // "[json.exception...] parse error at line 1, column 2: reason"
        const size_t reason = what.find(": ");
        error_position_ = position;
        return refuse(printable(what.substr(reason == what.npos ? 0 : reason + 2)));
    }

  private:
    bool refuse(std::string reason) {
        error_ = std::move(reason);
        return false;
    }

    // Pointers to open values stay valid because a container grows only while its last child is closed.
    json *place(json value) {
        if (++values_ > limits_.values) {
            refuse("more than " + std::to_string(limits_.values) + " values");
            return nullptr;
        }
        if (open_.empty()) return &(root_ = std::move(value));
        json &parent = *open_.back();
        if (parent.is_object()) return &(parent[key_] = std::move(value));
        parent.push_back(std::move(value));
        return &parent.back();
    }

    bool add(json value) { return place(std::move(value)) != nullptr; }

    bool open(json container) {
        if (open_.size() == limits_.depth) return refuse("deeper than " + std::to_string(limits_.depth) + " levels");
        json *placed = place(std::move(container));
        if (placed) open_.push_back(placed);
        return placed != nullptr;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    const json_limits &limits_;
    json &root_;
    std::vector<json *> open_;
    std::string key_, error_;
    size_t values_ = 0, error_position_ = 0;
};

}  // namespace

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

ss1_status json_parse(std::string_view text, const char *label, const json_limits &limits, json &out) {
    SS1_CHECK(text.size() <= limits.bytes, SS1_ERROR_FORMAT, "%s: %zu bytes of JSON, the limit is %zu", label,
              text.size(), limits.bytes);
    // nlohmann ends the text at a zero byte and skips a byte order mark.
    const size_t zero = text.find('\0');
    SS1_CHECK(zero == text.npos, SS1_ERROR_FORMAT, "%s: zero byte at byte %zu of the JSON", label, zero);
    SS1_CHECK(!text.starts_with("\xef\xbb\xbf"), SS1_ERROR_FORMAT, "%s: the JSON starts with a byte order mark", label);
    out = nullptr;
    tree_builder builder(limits, out);
    if (json::sax_parse(text.begin(), text.end(), &builder)) return SS1_OK;
    out = nullptr;
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
    const auto found = object.find(name);
    out = found == object.end() ? nullptr : &*found;
    SS1_CHECK(out || need == key::optional, SS1_ERROR_FORMAT, "%s: key '%s' is missing", where.c_str(), name);
    return SS1_OK;
}

ss1_status json_size_value(const json &value, const std::string &where, size_t min, size_t max, size_t &out) {
    SS1_CHECK(value.is_number_unsigned(), SS1_ERROR_FORMAT, "%s: is %s, must be a whole number >= 0", where.c_str(),
              value.is_number() ? printable(value.dump()).c_str() : value.type_name());
    const size_t size = value.get<size_t>();
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
    out = value->get<bool>();
    return SS1_OK;
}

ss1_status json_number(const json &object, const std::string &where, const char *name, key need, double &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, need, value));
    if (!value) return SS1_OK;
    SS1_CHECK(value->is_number(), SS1_ERROR_FORMAT, "%s: %s: is of type %s, must be a number", where.c_str(), name,
              value->type_name());
    out = value->get<double>();
    return SS1_OK;
}

ss1_status json_string(const json &object, const std::string &where, const char *name, key need, std::string &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, need, value));
    if (!value) return SS1_OK;
    SS1_CHECK(value->is_string(), SS1_ERROR_FORMAT, "%s: %s: is of type %s, must be a string", where.c_str(), name,
              value->type_name());
    out = value->get_ref<const std::string &>();
    return SS1_OK;
}

ss1_status json_only_keys(const json &object, const std::string &where, std::initializer_list<std::string_view> known) {
    for (const auto &[name, value] : object.items()) {
        SS1_CHECK(std::find(known.begin(), known.end(), name) != known.end(), SS1_ERROR_FORMAT, "%s: unknown key '%s'",
                  where.c_str(), printable(name).c_str());
    }
    return SS1_OK;
}

}  // namespace ss1
