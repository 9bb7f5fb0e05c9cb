// SPDX-License-Identifier: Apache-2.0
#include "text/patterns.hpp"

#include <array>

namespace ss1 {
namespace {

using enum broad_class;

constexpr std::array<broad_class, 128> ascii_classes = [] {
    std::array<broad_class, 128> classes{};
    for (size_t c = 0; c < 128; ++c) {
        const bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        classes[c] = is_letter                              ? letter
                     : c >= '0' && c <= '9'                 ? number
                     : c == ' ' || (c >= '\t' && c <= '\r') ? space
                                                            : other;
    }
    return classes;
}();

// The class of the character at `at`, which moves behind it.
broad_class take(std::string_view text, size_t &at) noexcept {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte >= 128) return broadly_classify(next_char(text, at));
    ++at;
    return ascii_classes[byte];
}

// The end of the run of characters of class `kind` from `at` on, at most `most` of them.
size_t run_end(std::string_view text, size_t at, broad_class kind, size_t most = SIZE_MAX) noexcept {
    for (size_t next = at; most && next < text.size(); at = next, --most)
        if (take(text, next) != kind) break;
    return at;
}

size_t contraction_end(std::string_view text, size_t from, bool any_case) noexcept {
    const auto at = [&](size_t i) {
        const char c = from + i < text.size() ? text[from + i] : '\0';
        return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    if (at(0) != '\'') return from;
    const char first = at(1), second = at(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return from + 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
        return from + 3;
    return any_case && text.substr(from + 1).starts_with("\u017f") ? from + 3 : from;  // long s, a lower case of S
}

// \s+(?!\S)|\s+: all of a run of white space but the last character, unless that is the only one or ends the text.
size_t space_end(std::string_view text, size_t from) noexcept {
    const size_t end = run_end(text, from, space);
    if (end == text.size()) return end;
    const size_t last = previous_char(text, end);
    return last > from ? last : end;
}

}  // namespace

size_t gpt2_match(std::string_view text, size_t from) noexcept {
    if (const size_t end = contraction_end(text, from, false); end > from) return end;
    size_t next = from;
    broad_class kind = take(text, next);
    if (kind == space) {
        if (text[from] != ' ' || next == text.size()) return space_end(text, from);
        kind = take(text, next);
        if (kind == space) return space_end(text, from);
    }
    return run_end(text, next, kind);
}

size_t gpt4_match(std::string_view text, size_t from, size_t digits) noexcept {
    if (const size_t end = contraction_end(text, from, true); end > from) return end;
    size_t next = from;
    const broad_class kind = take(text, next);
    if (kind == letter) return run_end(text, next, letter);
    if (kind == number) return run_end(text, from, number, digits);
    const auto is_line_end = [&](size_t i) { return i < text.size() && (text[i] == '\n' || text[i] == '\r'); };
    if (!is_line_end(from)) {  // one character, then letters
        if (const size_t end = run_end(text, next, letter); end > next) return end;
    }
    const size_t symbols = text[from] == ' ' ? next : from;
    if (size_t end = run_end(text, symbols, other); end > symbols) {
        while (is_line_end(end)) ++end;
        return end;
    }
    const size_t spaces = run_end(text, from, space);
    for (size_t end = spaces; end > from; --end)
        if (is_line_end(end - 1)) return end;
    return space_end(text, from);
}

bool is_number(char32_t c) noexcept {
    if (c < 128) return ascii_classes[c] == number;
    const bool of_unicode_17 = (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6);
    return of_unicode_17 || broadly_classify(c) == number;
}

}  // namespace ss1
