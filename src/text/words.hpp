// SPDX-License-Identifier: Apache-2.0
// The words of a text as BERT sees them: cleaned, split at blanks, punctuation and CJK ideographs, without accents and
// in lower case if wanted. What BertNormalizer and BertPreTokenizer of Hugging Face's tokenizers do, in one pass and
// without memory of its own.
#pragma once
#include <string_view>

namespace ss1 {

struct word_rules {
    bool lower_case = true;
    bool strip_accents = true;
    bool split_ideographs = true;
};

constexpr size_t max_word_chars = 100;  // longer words are unknown to a WordPiece of BERT, whatever they are

// Receives each word in UTF-8, an empty one for those of more than max_word_chars. @return false: no more, please.
using word_sink = bool (*)(void *user, std::string_view word);

void split_words(const word_rules &rules, std::string_view text, word_sink sink, void *user) noexcept;

}  // namespace ss1
