// SPDX-License-Identifier: Apache-2.0
// Reads the lines of a text file, LF or CRLF. Each line is a text, or two with a tab between them.
#pragma once
#include <string>

#include "apps/byte_input.hpp"

namespace ss1::apps {

class text_lines {
  public:
    // `pairs`: each line must have exactly one tab.
    text_lines(const std::string &path, bool pairs) : in_(path), pairs_(pairs) {}

    // Reads the next line; false at the end.
    bool next();
    // Returns whether next() can read a line without waiting for a pipe.
    bool ready() { return in_.has_line(false); }
    const std::string &first() const { return first_; }
    const std::string &second() const { return second_; }  // the pair's second text
    bool pairs() const { return pairs_; }
    const byte_input &input() const { return in_; }

  private:
    byte_input in_;
    bool pairs_;
    std::string first_, second_;
};

}  // namespace ss1::apps
