// SPDX-License-Identifier: Apache-2.0
// Reads the lines of a text file, LF or CRLF. Each line is a text, or two with a tab between them.
#pragma once
#include <string>

#include "apps/byte_input.hpp"
#include "apps/row_subset.hpp"

namespace ss1::apps {

class text_lines {
  public:
    // `pairs`: a line has exactly one tab. `texts_alone`: a line with a tab is refused, as it may be a pair.
    enum class kind { pairs, texts_alone, any_text };
    text_lines(const std::string &path, kind of, row_subset subset = {}) : in_(path), kind_(of), subset_(subset) {}

    // Reads the next line of the subset; false at the end.
    bool next();
    // Returns whether next() can read a line without waiting for a pipe.
    bool ready() { return in_.has_line(false); }
    const std::string &first() const { return first_; }
    const std::string &second() const { return second_; }  // the pair's second text
    bool pairs() const { return kind_ == kind::pairs; }
    const byte_input &input() const { return in_; }

  private:
    byte_input in_;
    kind kind_;
    row_subset subset_;
    size_t lines_ = 0;
    bool read();
    std::string first_, second_;
};

}  // namespace ss1::apps
