// SPDX-License-Identifier: Apache-2.0
// For a build without ICU: unicode_supported() returns false, and nothing else is called.
#include "text/unicode.hpp"

namespace ss1 {

bool unicode_supported() noexcept {
    return false;
}

char32_t next_char(std::string_view text, size_t &position) noexcept {
    return static_cast<unsigned char>(text[position++]);
}

size_t put_char(char32_t c, char *out) noexcept {
    *out = static_cast<char>(c);
    return 1;
}

bool is_utf8(std::string_view) noexcept {
    return false;
}

bool is_white_space(char32_t) noexcept {
    return false;
}

bool is_word(char32_t) noexcept {
    return false;
}

char_class classify(char32_t) noexcept {
    return char_class::other;
}

uint8_t combining_class(char32_t) noexcept {
    return 0;
}

size_t decompose(char32_t c, char32_t out[max_decomposition]) noexcept {
    out[0] = c;
    return 1;
}

size_t decompose_compatible(char32_t c, char32_t out[max_compatible_decomposition]) noexcept {
    out[0] = c;
    return 1;
}

bool compose(char32_t, char32_t, char32_t &) noexcept {
    return false;
}

bool is_mark(char32_t) noexcept {
    return false;
}

broad_class broadly_classify(char32_t) noexcept {
    return broad_class::other;
}

size_t grapheme_end(std::string_view, size_t begin) noexcept {
    return begin + 1;
}

size_t lower_case(char32_t c, char32_t out[2]) noexcept {
    out[0] = c;
    return 1;
}

}  // namespace ss1
