// SPDX-License-Identifier: Apache-2.0
// The words of a text as BERT sees them: cleaned, split at blanks, punctuation and CJK ideographs, without accents and
// in lower case if wanted. What BertNormalizer and BertPreTokenizer of Hugging Face's tokenizers do, in one pass and
// without memory of its own.
#pragma once
#include <cstddef>
#include <string_view>

namespace ss1 {

struct word_rules {
    bool lower_case = true;
    bool strip_accents = true;
    bool split_ideographs = true;
};

constexpr size_t max_word_chars = 100;  // longer words are unknown to a WordPiece of BERT, whatever they are

// [begin, end)
struct byte_range {
    size_t begin = 0, end = 0;
};

// Where in the text a word comes from.
struct word_places {
    byte_range word;
    const byte_range *bytes;  // of the character behind each byte of the word
};

// Receives each word in UTF-8, an empty one for those of more than max_word_chars. `places` is NULL if they are not
// wanted. @return false: no more, please.
using word_sink = bool (*)(void *user, std::string_view word, const word_places *places);

void split_words(const word_rules &rules, std::string_view text, bool with_places, word_sink sink, void *user) noexcept;

}  // namespace ss1
