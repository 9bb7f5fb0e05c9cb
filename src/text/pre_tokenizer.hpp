// SPDX-License-Identifier: Apache-2.0
// The pre-tokenizer of a tokenizer.json: steps that split a normalised text into the pieces that the model sees.
#pragma once
#include <string>
#include <vector>

#include "io/json.hpp"
#include "text/traced_text.hpp"

namespace ss1 {

// What becomes of the parts of a text that a pattern matches.
enum class split_behavior : uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// Finds the next match of a pattern at or after `from`. @return false: there is none.
struct pre_tokenizer_step;
using find_match = bool (*)(const pre_tokenizer_step &step, std::string_view text, size_t from, byte_range &match);

struct pre_tokenizer_step {
    find_match find = nullptr;  // NULL: does not split
    split_behavior behavior = split_behavior::isolated;
    bool invert = false;  // matches are the parts between those of the pattern
    std::string pattern;
    size_t digits = 1;                             // the longest run of numbers in a match of the split of GPT-4's kind
    std::string blank;                             // Metaspace: what becomes of a blank; "": it stays
    enum { never, first, always } prefix = never;  // puts the blank in front of a text that does not start with it
};

struct pre_tokenizer {
    std::vector<pre_tokenizer_step> steps;
    bool to_bytes = false;  // ByteLevel: the model works on the bytes of pieces

    // Splits `text`, which it may change, into `pieces`; `next` is scratch.
    void run(traced_text &text, traced_text &spare, std::vector<byte_range> &pieces,
             std::vector<byte_range> &next) const;
};

// Reads the member `pre_tokenizer` of `root`, the content of the tokenizer.json `path`.
ss1_status read_pre_tokenizer(const json &root, const std::string &path, pre_tokenizer &out);

// GPT-2's split, and ByteLevel with it: for a vocab.json and a merges.txt.
pre_tokenizer byte_level_pre_tokenizer(bool add_prefix_space);
pre_tokenizer bert_pre_tokenizer();

}  // namespace ss1
