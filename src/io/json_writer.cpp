// SPDX-License-Identifier: Apache-2.0
#include "io/json_writer.hpp"

#include <nlohmann/json.hpp>

namespace ss1 {
namespace {

std::string quoted(std::string_view text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);  // other handlers throw
}

}  // namespace

void json_writer::new_line() {
    if (indent_) text_.append(1, '\n').append(level_ * indent_, ' ');
}

void json_writer::place() {
    if (!after_key_ && level_) {
        if (!first_) text_ += ',';
        new_line();
    }
    first_ = after_key_ = false;
}

void json_writer::scalar(const std::string &text) {
    place();
    text_ += text;
}

void json_writer::begin(char bracket) {
    place();
    text_ += bracket;
    ++level_;
    first_ = true;
}

void json_writer::end(char bracket) {
    --level_;
    if (!first_) new_line();
    text_ += bracket;
    first_ = false;
}

json_writer &json_writer::key(std::string_view name) {
    place();
    text_ += quoted(name) + (indent_ ? ": " : ":");
    after_key_ = true;
    return *this;
}

void json_writer::string(std::string_view text) {
    scalar(quoted(text));
}

void json_writer::copy(const json &value) {
    switch (value.kind()) {
        case json_kind::array:
        case json_kind::object:
            begin(value.is_array() ? '[' : '{');
            for (const json &member : value) {
                if (value.is_object()) key(member.key());
                copy(member);
            }
            return end(value.is_array() ? ']' : '}');
        case json_kind::string:
            return string(value.string());
        case json_kind::boolean:
            return scalar(value.boolean() ? "true" : "false");
        default:
            return scalar(value.text());  // null is the name of its type
    }
}

}  // namespace ss1
