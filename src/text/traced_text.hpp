// SPDX-License-Identifier: Apache-2.0
// A text that a tokenizer changes step by step, and where each of its bytes comes from.
#pragma once
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

    void clear() noexcept {
        text.clear();
        places.clear();
    }
    // Takes a part of the source; bytes that are not UTF-8 become U+FFFD.
    void take(std::string_view source, byte_range part, bool with_places);
};

// Writes a changed copy of a text, with the rules of tokenizers' NormalizedString for places: a character that replaces
// one has its place, an inserted one has the place of the character before.
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
    size_t position() const noexcept { return position_; }       // in the old text
    size_t written() const noexcept { return to_.text.size(); }  // bytes of the new one
    char32_t peek(size_t &end) const noexcept {
        end = position_;
        return next_char(from_.text, end);
    }

    // Copies the bytes up to `end`.
    void keep(size_t end) {
        to_.text.append(from_.text, position_, end - position_);
        if (from_.traced)
            to_.places.insert(to_.places.end(), from_.places.begin() + static_cast<ptrdiff_t>(position_),
                              from_.places.begin() + static_cast<ptrdiff_t>(end));
        position_ = end;
    }
    void drop(size_t end) noexcept { position_ = end; }

    // Puts a character instead of the next one, or after what was taken so far.
    void replace(char32_t c) {
        if (at_end()) return insert(c);
        put(c, from_.traced ? from_.places[position_] : byte_range());
        size_t end;
        peek(end);
        position_ = end;
    }
    void insert(char32_t c) {
        put(c, !from_.traced ? byte_range()
               : position_   ? from_.places[position_ - 1]
                             : byte_range{from_.origin, from_.origin});
    }
    void insert(std::string_view text) {
        for (size_t i = 0; i < text.size();) insert(next_char(text, i));
    }
    // Puts characters in front of the next one, with its place.
    void insert_before(std::string_view text) {
        to_.text.append(text);
        if (from_.traced) to_.places.insert(to_.places.end(), text.size(), from_.places[position_]);
    }
    // As in tokenizers: 0 replaces a character, 1 inserts one, -n replaces one and drops the n after it.
    void change(char32_t c, ptrdiff_t by) {
        if (by > 0) return insert(c);
        replace(c);
        for (size_t end; by < 0 && !at_end(); ++by) {
            peek(end);
            position_ = end;
        }
    }

  private:
    void put(char32_t c, byte_range place) {
        char bytes[4];
        const size_t n = put_char(c, bytes);
        to_.text.append(bytes, n);
        if (from_.traced) to_.places.insert(to_.places.end(), n, place);
    }

    const traced_text &from_;
    traced_text &to_;
    size_t position_ = 0;
};

// Changes `text` by `edit(rewriter)`, with `spare` as scratch.
template <class Edit>
void rewrite(traced_text &text, traced_text &spare, Edit edit) {
    rewriter writer(text, spare);
    edit(writer);
    std::swap(text, spare);
}

// Puts `start` in front of a text that is not empty; all of it has the place of the first character.
void prepend_text(traced_text &text, traced_text &spare, std::string_view start);

bool is_ascii(std::string_view text) noexcept;

}  // namespace ss1
