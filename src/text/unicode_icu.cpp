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
const UNormalizer2 *normalizer(const UNormalizer2 *(*get)(UErrorCode *)) {
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2 *const found = get(&error);
    return U_SUCCESS(error) ? found : nullptr;
}
const UNormalizer2 *const nfd = normalizer(unorm2_getNFDInstance), *const nfkd = normalizer(unorm2_getNFKDInstance),
                          *const nfc = normalizer(unorm2_getNFCInstance);

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

constexpr uint8_t category_version = 8;       // of the crate unicode_categories
constexpr uint8_t normalization_version = 9;  // of the crate unicode-normalization-alignments

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
    return nfd && nfkd && nfc;
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

bool is_white_space(char32_t c) noexcept {
    return u_isUWhiteSpace(static_cast<UChar32>(c));
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
    return combining && in_unicode(c, normalization_version) ? combining : 0;
}

namespace {

template <size_t most>
size_t decompose_by(const UNormalizer2 *form, char32_t c, char32_t *out) noexcept {
    UChar units[2 * most];
    UErrorCode error = U_ZERO_ERROR;
    const int32_t size =
        unorm2_getDecomposition(form, static_cast<UChar32>(c), units, static_cast<int32_t>(2 * most), &error);
    if (size < 0 || U_FAILURE(error) || !in_unicode(c, normalization_version)) {
        out[0] = c;
        return 1;
    }
    size_t n = 0;
    for (int32_t i = 0; i < size && n < most;) {
        UChar32 part;
        U16_NEXT(units, i, size, part);
        out[n++] = static_cast<char32_t>(part);
    }
    return n;
}

}  // namespace

size_t decompose(char32_t c, char32_t out[max_decomposition]) noexcept {
    return decompose_by<max_decomposition>(nfd, c, out);
}

size_t decompose_compatible(char32_t c, char32_t out[max_compatible_decomposition]) noexcept {
    return decompose_by<max_compatible_decomposition>(nfkd, c, out);
}

bool compose(char32_t a, char32_t b, char32_t &out) noexcept {
    const UChar32 joined = unorm2_composePair(nfc, static_cast<UChar32>(a), static_cast<UChar32>(b));
    if (joined < 0 || !in_unicode(static_cast<char32_t>(joined), normalization_version)) return false;
    out = static_cast<char32_t>(joined);
    return true;
}

bool is_mark(char32_t c) noexcept {
    switch (c) {  // characters whose category has changed since
        case 0x111C9:
            return false;
        case 0x1CF2:
        case 0x1CF3:
            return true;
    }
    return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) && in_unicode(c, normalization_version);
}

namespace {

// Characters of Unicode 15.1 and 16, which the regular expressions of tokenizers know and ICU 72 does not.
enum class young_kind : uint8_t { none, letter, number, mark };
struct young_range {
    char32_t begin, end;
    young_kind kind;
};
constexpr young_range young_chars[] = {
    {0x897, 0x897, young_kind::mark},       {0x1C89, 0x1C8A, young_kind::letter},
    {0xA7CB, 0xA7CD, young_kind::letter},   {0xA7DA, 0xA7DC, young_kind::letter},
    {0x105C0, 0x105F3, young_kind::letter}, {0x10D40, 0x10D49, young_kind::number},
    {0x10D4A, 0x10D65, young_kind::letter}, {0x10D69, 0x10D6D, young_kind::mark},
    {0x10D6F, 0x10D85, young_kind::letter}, {0x10EC2, 0x10EC4, young_kind::letter},
    {0x10EFC, 0x10EFC, young_kind::mark},   {0x11380, 0x11389, young_kind::letter},
    {0x1138B, 0x1138B, young_kind::letter}, {0x1138E, 0x1138E, young_kind::letter},
    {0x11390, 0x113B5, young_kind::letter}, {0x113B7, 0x113B7, young_kind::letter},
    {0x113B8, 0x113C0, young_kind::mark},   {0x113C2, 0x113C2, young_kind::mark},
    {0x113C5, 0x113C5, young_kind::mark},   {0x113C7, 0x113CA, young_kind::mark},
    {0x113CC, 0x113D0, young_kind::mark},   {0x113D1, 0x113D1, young_kind::letter},
    {0x113D2, 0x113D2, young_kind::mark},   {0x113D3, 0x113D3, young_kind::letter},
    {0x113E1, 0x113E2, young_kind::mark},   {0x116D0, 0x116E3, young_kind::number},
    {0x11BC0, 0x11BE0, young_kind::letter}, {0x11BF0, 0x11BF9, young_kind::number},
    {0x11F5A, 0x11F5A, young_kind::mark},   {0x13460, 0x143FA, young_kind::letter},
    {0x16100, 0x1611D, young_kind::letter}, {0x1611E, 0x1612F, young_kind::mark},
    {0x16130, 0x16139, young_kind::number}, {0x16D40, 0x16D6C, young_kind::letter},
    {0x16D70, 0x16D79, young_kind::number}, {0x18CFF, 0x18CFF, young_kind::letter},
    {0x1CCF0, 0x1CCF9, young_kind::number}, {0x1E5D0, 0x1E5ED, young_kind::letter},
    {0x1E5EE, 0x1E5EF, young_kind::mark},   {0x1E5F0, 0x1E5F0, young_kind::letter},
    {0x1E5F1, 0x1E5FA, young_kind::number}, {0x2EBF0, 0x2EE5D, young_kind::letter},
};

// ICU answers for characters of Unicode 15, the table for later ones.
constexpr uint8_t table_version = 15;
const bool icu_is_later = [] {
    UVersionInfo version;
    u_getUnicodeVersion(version);
    return version[0] > table_version;
}();

bool is_young(char32_t c, uint32_t category) noexcept {
    return (category & U_GC_CN_MASK) || (icu_is_later && !in_unicode(c, table_version));
}

young_kind young_kind_of(char32_t c) noexcept {
    for (const young_range &range : young_chars)
        if (c >= range.begin && c <= range.end) return range.kind;
    return young_kind::none;
}

}  // namespace

broad_class broadly_classify(char32_t c) noexcept {
    const uint32_t category = U_GET_GC_MASK(static_cast<UChar32>(c));
    if (is_young(c, category)) {
        const young_kind kind = young_kind_of(c);
        return kind == young_kind::letter   ? broad_class::letter
               : kind == young_kind::number ? broad_class::number
                                            : broad_class::other;
    }
    return category & U_GC_L_MASK   ? broad_class::letter
           : category & U_GC_N_MASK ? broad_class::number
           : is_white_space(c)      ? broad_class::space
                                    : broad_class::other;
}

bool is_word(char32_t c) noexcept {
    const auto code = static_cast<UChar32>(c);
    const uint32_t category = U_GET_GC_MASK(code);
    if (is_young(c, category)) return young_kind_of(c) != young_kind::none;
    return (category & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) || u_isUAlphabetic(code) ||
           u_hasBinaryProperty(code, UCHAR_JOIN_CONTROL);
}

size_t grapheme_end(std::string_view text, size_t begin) noexcept {
    const auto kind_of = [](char32_t c) {
        return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_GRAPHEME_CLUSTER_BREAK);
    };
    const auto is_picture = [](char32_t c) {
        return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC);
    };
    size_t end = begin;
    const char32_t first = next_char(text, end);
    int32_t last = kind_of(first);
    bool picture = is_picture(first), joined = false, flag = last == U_GCB_REGIONAL_INDICATOR;
    for (size_t next = end; next < text.size(); end = next) {
        const char32_t c = next_char(text, next);
        const int32_t kind = kind_of(c);
        const auto is_control = [](int32_t k) { return k == U_GCB_CONTROL || k == U_GCB_CR || k == U_GCB_LF; };
        const bool with_l = kind == U_GCB_L || kind == U_GCB_V || kind == U_GCB_LV || kind == U_GCB_LVT;
        const bool together = (last == U_GCB_CR && kind == U_GCB_LF) ||
                              (!is_control(last) && !is_control(kind) &&
                               ((last == U_GCB_L && with_l) ||
                                ((last == U_GCB_LV || last == U_GCB_V) && (kind == U_GCB_V || kind == U_GCB_T)) ||
                                ((last == U_GCB_LVT || last == U_GCB_T) && kind == U_GCB_T) || kind == U_GCB_EXTEND ||
                                kind == U_GCB_ZWJ || kind == U_GCB_SPACING_MARK || last == U_GCB_PREPEND ||
                                (joined && is_picture(c)) || (flag && kind == U_GCB_REGIONAL_INDICATOR)));
        if (!together) break;
        joined = picture && kind == U_GCB_ZWJ;
        picture = is_picture(c) || (picture && kind == U_GCB_EXTEND);
        flag = kind == U_GCB_REGIONAL_INDICATOR && !flag;
        last = kind;
    }
    return end;
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
