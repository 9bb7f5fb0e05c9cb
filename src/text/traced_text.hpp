// SPDX-License-Identifier: Apache-2.0
// A text that a tokenizer changes step by step, and where each of its bytes comes from.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ss1/ss1.h"
#include "text/unicode.hpp"
#include "text/words.hpp"

namespace ss1 {

// Limits of what a file may ask for, so that time and memory stay in proportion to the text.
constexpr size_t longest_text = size_t{1} << 30;  // after each step
constexpr size_t longest_pattern = 512;           // also of the text that takes its place

// Refuses a pattern of the file, or its replacement, that is empty or too long. `where` names it.
ss1_status check_pattern(std::string_view pattern, const std::string &where);

struct traced_text {
    std::string text;                // UTF-8
    std::vector<byte_range> places;  // for each byte, the place of its character in the source; empty if not traced
    bool traced = false;
    size_t origin = 0;  // where in the source the text begins
    size_t first = 0;   // leading bytes that come from the first character of the source; also known if not traced

    void clear() noexcept {
        text.clear();
        places.clear();
        first = 0;
    }
    // Takes a part of the source; bytes that are not UTF-8 become U+FFFD.
    void take(std::string_view source, byte_range part, bool with_places);
};

// Writes a changed copy of a text, with the rules of tokenizers' NormalizedString for places: a character that replaces
// one has its place, an inserted one has the place of the character before. What is kept is copied when a change
// follows, many characters at once.
class rewriter {
  public:
    rewriter(const traced_text &from, traced_text &to) : from_(from), to_(to) {
        to.clear();
        to.traced = from.traced;
        to.origin = from.origin;
        to.text.reserve(from.text.size() + from.text.size() / 4);
        if (from.traced) to.places.reserve(from.text.size() + from.text.size() / 4);
    }

    bool at_end() const noexcept { return position_ == from_.text.size(); }
    size_t position() const noexcept { return position_; }                             // in the old text
    size_t written() const noexcept { return to_.text.size() + position_ - copied_; }  // bytes of the new one
    char32_t peek(size_t &end) const noexcept {
        end = position_;
        return next_char(from_.text, end);
    }

    // Takes the bytes up to `end` without change.
    void keep(size_t end) noexcept { position_ = end; }
    void drop(size_t end) {
        copy_kept();
        position_ = copied_ = end;
    }
    // Whether the new text is the old one.
    bool kept_all() const noexcept { return copied_ == 0 && to_.text.empty() && at_end(); }
    void copy_kept() {
        if (copied_ < from_.first) count_first(std::min(position_, from_.first) - copied_);
        to_.text.append(from_.text, copied_, position_ - copied_);
        if (from_.traced)
            to_.places.insert(to_.places.end(), from_.places.begin() + static_cast<ptrdiff_t>(copied_),
                              from_.places.begin() + static_cast<ptrdiff_t>(position_));
        copied_ = position_;
    }

    // Puts a character instead of the next one, or after what was taken so far.
    void replace(char32_t c) {
        if (at_end()) return insert(c);
        put(c, from_.traced ? from_.places[position_] : byte_range(), position_ < from_.first);
        skip();
    }
    void insert(char32_t c) {
        put(c,
            !from_.traced ? byte_range()
            : position_   ? from_.places[position_ - 1]
                          : byte_range{from_.origin, from_.origin},
            position_ ? position_ - 1 < from_.first : from_.origin == 0);
    }
    void insert(std::string_view text) {
        for (size_t i = 0; i < text.size();) insert(next_char(text, i));
    }
    // Puts characters in front of the next one, with its place.
    void insert_before(std::string_view text) {
        copy_kept();
        if (position_ < from_.first) count_first(text.size());
        to_.text.append(text);
        if (from_.traced) to_.places.insert(to_.places.end(), text.size(), from_.places[position_]);
    }
    // As in tokenizers: 0 replaces a character, 1 inserts one, -n replaces one and drops the n after it.
    void change(char32_t c, ptrdiff_t by) {
        if (by > 0) return insert(c);
        replace(c);
        for (; by < 0 && !at_end(); ++by) skip();
    }

  private:
    // Drops the next character; all before it is copied or dropped.
    void skip() noexcept {
        next_char(from_.text, position_);
        copied_ = position_;
    }
    // Counts n bytes that come from the first character and are about to be written.
    void count_first(size_t n) noexcept {
        if (to_.first == to_.text.size()) to_.first += n;
    }
    void put(char32_t c, byte_range place, bool of_first) {
        copy_kept();
        char bytes[4];
        const size_t n = put_char(c, bytes);
        if (of_first) count_first(n);
        to_.text.append(bytes, n);
        if (from_.traced) to_.places.insert(to_.places.end(), n, place);
    }

    const traced_text &from_;
    traced_text &to_;
    size_t position_ = 0, copied_ = 0;  // what lies between them is kept
};

// Changes `text` by `edit(rewriter)`, with `spare` as scratch.
template <class Edit>
void rewrite(traced_text &text, traced_text &spare, Edit edit) {
    rewriter writer(text, spare);
    edit(writer);
    if (writer.kept_all()) return;
    writer.copy_kept();
    std::swap(text, spare);
}

// Puts `start` in front of a text that is not empty; all of it has the place of the first character.
void prepend_text(traced_text &text, traced_text &spare, std::string_view start);

bool is_ascii(std::string_view text) noexcept;

}  // namespace ss1
