// SPDX-License-Identifier: Apache-2.0
// The Unicode functions of the tokenizer. unicode_icu.cpp implements them with ICU; unicode_none.cpp replaces it in a
// build without ICU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ss1 {

// The categories are Z; Cc, Cf and Co; P; Mn.
enum class char_class : uint8_t { other, space, control, punctuation, mark };

// The categories L and N and the property White_Space.
enum class broad_class : uint8_t { other, letter, number, space };

// A canonical decomposition has at most 4 characters (U+1F82), and none has grown since Unicode 1.1.
constexpr size_t max_decomposition = 4;
constexpr size_t max_compatible_decomposition = 18;  // U+FDFA

bool unicode_supported() noexcept;  // false: nothing below may be called

// Reads the character at `position` and moves `position` after it. A byte that is not part of UTF-8 gives U+FFFD, as
// with Python's errors="replace".
char32_t next_char(std::string_view text, size_t &position) noexcept;
// Returns where the character before `position` begins; 0 if there is none.
inline size_t previous_char(std::string_view text, size_t position) noexcept {
    if (position) --position;
    while (position && (text[position] & 0xC0) == 0x80) --position;
    return position;
}
// Appends UTF-8, at most 4 bytes. @return the number of bytes.
size_t put_char(char32_t c, char *out) noexcept;
bool is_utf8(std::string_view text) noexcept;

bool is_white_space(char32_t c) noexcept;  // the property White_Space
bool is_word(char32_t c) noexcept;         // \w in Unicode 16: letters, marks, digits, connectors, joiners

broad_class broadly_classify(char32_t c) noexcept;  // in Unicode 16
// Returns the end of the extended grapheme cluster that begins at `begin` < text.size().
size_t grapheme_end(std::string_view text, size_t begin) noexcept;

// These take characters beyond ASCII and give the results of the Rust crates in Hugging Face's tokenizers 0.23:
// categories of Unicode 8.0, decompositions of 12, letter case of 17.
char_class classify(char32_t c) noexcept;
uint8_t combining_class(char32_t c) noexcept;
size_t decompose(char32_t c, char32_t out[max_decomposition]) noexcept;  // canonical, full; c itself if it has none
size_t decompose_compatible(char32_t c, char32_t out[max_compatible_decomposition]) noexcept;
bool compose(char32_t a, char32_t b, char32_t &out) noexcept;  // canonically; false: nothing is composed
bool is_mark(char32_t c) noexcept;                             // the categories M
size_t lower_case(char32_t c, char32_t out[2]) noexcept;       // of a character without context

}  // namespace ss1
