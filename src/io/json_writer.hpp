// SPDX-License-Identifier: Apache-2.0
// Writes JSON text piece by piece, without a tree in memory.
#pragma once
#include <string>
#include <string_view>

#include "io/json.hpp"

namespace ss1 {

// begin() and end() take the brackets of arrays and objects. Inside an object, key() precedes each value.
class json_writer {
  public:
    explicit json_writer(size_t indent = 0) : indent_(indent) {}  // spaces per level; 0: all on one line

    void begin(char bracket);
    void end(char bracket);
    json_writer &key(std::string_view name);
    void string(std::string_view text);  // bytes that are not UTF-8 become U+FFFD
    void number(uint64_t value) { scalar(std::to_string(value)); }
    void copy(const json &value);

    std::string take() noexcept { return std::move(text_); }

  private:
    void scalar(const std::string &text);
    void place();  // ends the value before this one
    void new_line();

    std::string text_;
    size_t indent_, level_ = 0;
    bool first_ = true, after_key_ = false;  // first: no value precedes on this level
};

}  // namespace ss1
