// SPDX-License-Identifier: Apache-2.0
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <iterator>

#include "text/unicode.hpp"

#pragma GCC diagnostic ignored "-Wconversion"  // in ICU's macros

namespace ss1 {
namespace {

// ICU makes it under a lock that fork() does not take, so it is made when the library is loaded, before any thread can
// need it. Combining classes use the same instance.
const UNormalizer2 *const nfd = [] {
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2 *found = unorm2_getNFDInstance(&error);
    return U_SUCCESS(error) ? found : nullptr;
}();

// Returns the character at `position`, or a negative number for invalid bytes.
UChar32 decode(std::string_view text, size_t &position) noexcept {
    const auto *const data = reinterpret_cast<const uint8_t *>(text.data()) + position;
    const auto size = static_cast<int32_t>(std::min<size_t>(text.size() - position, U8_MAX_LENGTH));
    int32_t used = 0;
    UChar32 c;
    U8_NEXT(data, used, size, c);
    position += static_cast<size_t>(used);
    return c;
}

// Whether c was a character in that version of Unicode.
bool in_unicode(char32_t c, uint8_t version) noexcept {
    UVersionInfo age;
    u_charAge(static_cast<UChar32>(c), age);
    return age[0] >= 1 && age[0] <= version;
}

constexpr uint8_t category_version = 8;        // of the crate unicode_categories
constexpr uint8_t normalization_version = 12;  // of the crate unicode-normalization-alignments' decompositions
constexpr uint8_t combining_version = 9;       // of its combining classes

// Letters of Unicode 16 and 17, which Rust knows and ICU 72 does not.
struct lower_range {
    char32_t begin, end, lower;
};
constexpr lower_range young_letters[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x0264},    {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
    {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x019B},
    {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
};

}  // namespace

bool unicode_supported() noexcept {
    return nfd != nullptr;
}

char32_t next_char(std::string_view text, size_t &position) noexcept {
    const UChar32 c = decode(text, position);
    return c < 0 ? 0xFFFD : static_cast<char32_t>(c);
}

size_t put_char(char32_t c, char *out) noexcept {
    size_t size = 0;
    U8_APPEND_UNSAFE(out, size, c);
    return size;
}

bool is_utf8(std::string_view text) noexcept {
    for (size_t i = 0; i < text.size();)
        if (decode(text, i) < 0) return false;
    return true;
}

char_class classify(char32_t c) noexcept {
    switch (c) {  // characters whose category has changed since
        case 0x166D:
        case 0x111C9:
            return char_class::punctuation;
        case 0x1734:
            return char_class::mark;
        case 0x1885:
        case 0x1886:
        case 0xA9BD:
            return char_class::other;
    }
    const uint32_t category = U_GET_GC_MASK(static_cast<UChar32>(c));
    constexpr uint32_t control = U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK;
    if (category & U_GC_Z_MASK) return char_class::space;
    if (!(category & (control | U_GC_P_MASK | U_GC_MN_MASK)) || !in_unicode(c, category_version))
        return char_class::other;
    if (category & control) return char_class::control;
    return category & U_GC_MN_MASK ? char_class::mark : char_class::punctuation;
}

uint8_t combining_class(char32_t c) noexcept {
    const uint8_t combining = u_getCombiningClass(static_cast<UChar32>(c));
    return combining && in_unicode(c, combining_version) ? combining : 0;
}

size_t decompose(char32_t c, char32_t out[max_decomposition]) noexcept {
    UChar units[2 * max_decomposition];
    UErrorCode error = U_ZERO_ERROR;
    const int32_t size =
        unorm2_getDecomposition(nfd, static_cast<UChar32>(c), units, static_cast<int32_t>(std::size(units)), &error);
    if (size < 0 || U_FAILURE(error) || !in_unicode(c, normalization_version)) {
        out[0] = c;
        return 1;
    }
    size_t n = 0;
    for (int32_t i = 0; i < size && n < max_decomposition;) {
        UChar32 part;
        U16_NEXT(units, i, size, part);
        out[n++] = static_cast<char32_t>(part);
    }
    return n;
}

size_t lower_case(char32_t c, char32_t out[2]) noexcept {
    if (c == 0x130) {  // the only character whose lower case is two characters
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
    if (out[0] == c && c >= young_letters[0].begin) {
        for (const lower_range &range : young_letters)
            if (c >= range.begin && c <= range.end) out[0] = c - range.begin + range.lower;
    }
    return 1;
}

}  // namespace ss1
