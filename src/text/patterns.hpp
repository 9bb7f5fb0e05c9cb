// SPDX-License-Identifier: Apache-2.0
// The regular expressions that split texts for byte-level models, as functions: they need look-ahead and Unicode
// classes, and these are linear in the text.
#pragma once
#include <cstddef>
#include <string_view>

#include "text/unicode.hpp"

namespace ss1 {

constexpr char gpt2_pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char gpt4_pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char qwen_pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Return the end of the match that begins at `from` < text.size(); there always is one. `digits` is the longest run of
// \p{N} in a match: 3 or 1.
size_t gpt2_match(std::string_view text, size_t from) noexcept;
size_t gpt4_match(std::string_view text, size_t from, size_t digits) noexcept;

bool is_number(char32_t c) noexcept;  // the categories N of Unicode 17, as for the step Digits

}  // namespace ss1
