// SPDX-License-Identifier: Apache-2.0
// Splits a text into the words of BERT: cleans it, splits at blanks, punctuation and CJK ideographs, and, if requested,
// strips accents and lowers case. It does the work of BertNormalizer and BertPreTokenizer of Hugging Face's tokenizers
// in one pass and allocates nothing.
#pragma once
#include <cstddef>
#include <string_view>

namespace ss1 {

struct word_rules {
    bool lower_case = true;
    bool strip_accents = true;
    bool split_ideographs = true;
};

constexpr size_t max_word_chars = 100;  // BERT's WordPiece maps longer words to the unknown token

// The Unicode blocks in BERT's first implementation; Hangul and kana are not among them.
bool is_ideograph(char32_t c) noexcept;
// Whether BERT's cleaning drops c.
bool is_dropped(char32_t c) noexcept;
bool is_punctuation(
    char32_t c) noexcept;  // for BERT: all of ASCII that is no letter, digit, blank or control character

// The half-open range [begin, end).
struct byte_range {
    size_t begin = 0, end = 0;
};

// The places in the text that a word comes from.
struct word_places {
    byte_range word;
    const byte_range *bytes;  // for each byte of the word, the place of its character
};

// Receives each word in UTF-8, or an empty word if it has more than max_word_chars. `places` is NULL if not requested.
// @return false to stop.
using word_sink = bool (*)(void *user, std::string_view word, const word_places *places);

void split_words(const word_rules &rules, std::string_view text, bool with_places, word_sink sink, void *user) noexcept;

}  // namespace ss1
