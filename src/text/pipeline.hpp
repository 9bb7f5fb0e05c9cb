// SPDX-License-Identifier: Apache-2.0
// A tokenizer as its tokenizer.json describes it: added tokens, normalizer, added tokens in the normalised text,
// pre-tokenizer, model.
#pragma once
#include <limits>
#include <string_view>
#include <vector>

#include "text/added_tokens.hpp"
#include "text/bpe.hpp"
#include "text/normalizer.hpp"
#include "text/post_processor.hpp"
#include "text/pre_tokenizer.hpp"
#include "text/unigram.hpp"
#include "text/vocabulary.hpp"

namespace ss1 {

struct text_token {
    int32_t id;
    bool starts_word;  // the first token of a piece; an added token starts none
    byte_range place;
    blank_counts blanks{};  // 0 unless they are counted
};

// What a thread needs for texts; it grows with the longest one.
struct text_scratch {
    traced_text text, part, spare;
    std::vector<byte_range> pieces, next;
    std::vector<model_token> tokens;
    std::vector<vocabulary::piece> word;
    bpe_scratch merging;
    unigram_scratch ways;
};

enum class model_kind : uint8_t { word_piece, word_level, bpe, unigram };

struct pipeline {
    const vocabulary *all = nullptr;  // outlives this object
    added_tokens literal, normalized;
    normalizer normalizing;
    pre_tokenizer splitting;
    model_kind kind = model_kind::word_piece;
    int32_t unknown = vocabulary::none;  // of word_piece and word_level
    size_t max_word_chars = std::numeric_limits<size_t>::max();
    bool counts_blanks = false;  // at the ends of tokens, where places are wanted
    bpe merging;
    unigram scoring;

    // Appends the tokens of a text. Stops after the piece, not the added token, with which `out` has `enough` tokens.
    void run(std::string_view source, bool with_places, size_t enough, text_scratch &scratch,
             std::vector<text_token> &out) const;

  private:
    // These return false where run() is to stop.
    bool run_part(std::string_view source, byte_range part, bool traced, size_t enough, text_scratch &scratch,
                  std::vector<text_token> &out) const;
    bool run_normalized(traced_text &text, size_t enough, text_scratch &scratch, std::vector<text_token> &out) const;
    void encode_piece(std::string_view piece, text_scratch &scratch) const;
    void put(const text_token &token, std::string_view name, bool traced, std::vector<text_token> &out) const;
};

}  // namespace ss1
