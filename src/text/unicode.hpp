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

// A canonical decomposition has at most 4 characters (U+1F82), and none has grown since Unicode 1.1.
constexpr size_t max_decomposition = 4;

bool unicode_supported() noexcept;  // false: nothing below may be called

// Reads the character at `position` and moves `position` after it. A byte that is not part of UTF-8 gives U+FFFD, as
// with Python's errors="replace".
char32_t next_char(std::string_view text, size_t &position) noexcept;
// Appends UTF-8, at most 4 bytes. @return the number of bytes.
size_t put_char(char32_t c, char *out) noexcept;
bool is_utf8(std::string_view text) noexcept;

// These take characters beyond ASCII and give the results of the Rust crates in Hugging Face's tokenizers 0.23:
// categories of Unicode 8.0, decompositions of 12, letter case of 17.
char_class classify(char32_t c) noexcept;
uint8_t combining_class(char32_t c) noexcept;
size_t decompose(char32_t c, char32_t out[max_decomposition]) noexcept;  // canonical, full; c itself if it has none
size_t lower_case(char32_t c, char32_t out[2]) noexcept;                 // of a character without context

}  // namespace ss1
