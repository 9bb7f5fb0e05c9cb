// SPDX-License-Identifier: Apache-2.0
// BERT's tokenizer: a model directory's vocabulary and rules, texts to ids.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "context.hpp"
#include "io/json.hpp"
#include "text/vocabulary.hpp"
#include "text/words.hpp"

namespace ss1 {

// A token that is found in the text as it is, before any rule.
struct special_token {
    std::string text;
    int64_t id;
};

struct tokenizer_rules {
    word_rules words;
    std::string unk = "[UNK]", sep = "[SEP]", pad = "[PAD]", cls = "[CLS]", mask = "[MASK]";
    std::vector<special_token> added;
    size_t max_tokens = 0;  // 0: no limit
};

}  // namespace ss1

struct ss1_tokenizer {
    ss1::context_ref context;
    ss1::vocabulary vocabulary;
    ss1::word_rules rules;
    std::vector<ss1::special_token> special;  // longest first
    bool starts_special[256] = {};            // by the first byte
    int32_t unk, sep, pad, cls, mask;         // mask: vocabulary::none if there is none
    size_t max_tokens = 0;                    // 0: no limit
};

namespace ss1 {

// tokenizer_config.json, special_tokens_map.json and the limit in config.json of a model directory, as far as they are
// there.
ss1_status read_tokenizer_rules(const std::string &directory, tokenizer_rules &out);

// One of the tokens that were added to the vocabulary: {"content": "[NEW]", ...}.
ss1_status read_added_token(const json &token, const std::string &where, int64_t id, tokenizer_rules &out);

// tokenizer.json in the place of vocab.txt: its rules for words, and its vocabulary as lines.
ss1_status read_tokenizer_json(const std::string &path, tokenizer_rules &rules, std::string &vocabulary_text);

ss1_status tokenizer_load(ss1_context &context, const std::string &directory, ss1_tokenizer &out);
void tokenizer_describe(const ss1_tokenizer &tokenizer, ss1_tokenizer_info &info) noexcept;
ss1_status tokenizer_encode(const ss1_tokenizer &tokenizer, const ss1_tokenize_args &args);

}  // namespace ss1
