// SPDX-License-Identifier: Apache-2.0
// BERT's tokenizer: reads the vocabulary and rules of a model directory and converts texts to ids.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.hpp"
#include "io/json.hpp"
#include "text/vocabulary.hpp"
#include "text/words.hpp"

namespace ss1 {

// A token that is found verbatim in the text, before any rule applies.
struct special_token {
    std::string text;
    int64_t id;
};

// A special token that a file names in addition to the five of BERT.
struct added_token {
    static constexpr int64_t no_id = -1;

    std::string text, where;  // where: file and key, for messages
    int64_t id = no_id;       // no_id: from the vocabulary or another file, else the next free id
    bool in_order = true;     // false: a member of an object, which has no order
};

// word_rules; only the members that a file states have values.
struct stated_rules {
    std::optional<bool> lower_case, strip_accents, split_ideographs;
};

struct tokenizer_rules {
    stated_rules words;
    std::string unk = "[UNK]", sep = "[SEP]", pad = "[PAD]", cls = "[CLS]", mask = "[MASK]";
    std::vector<added_token> added;  // Hugging Face numbers those without id in this order
    std::string tokenizer_class;     // empty: no file names one
    bool lists_added = false;  // in added_tokens_decoder, which overrides special_tokens_map.json and added_tokens.json
    size_t max_tokens = 0;     // 0: no limit
};

struct tokenizer_json {
    std::string path;
    json_document document;
    const json *vocab = nullptr;  // {token: id}; NULL: the directory has no such file
};

}  // namespace ss1

struct ss1_tokenizer {
    ss1::context_ref context;
    ss1::vocabulary vocabulary;
    ss1::word_rules rules;
    std::vector<ss1::special_token> special;  // longest first
    bool starts_special[256] = {};            // indexed by the first byte
    int32_t unk, sep, pad, cls, mask;         // mask may be vocabulary::none
    size_t max_tokens = 0;                    // 0: no limit
};

namespace ss1 {

// Reads tokenizer_config.json, special_tokens_map.json, class and limit in config.json, tokenizer.json and
// added_tokens.json of a model directory if they exist.
ss1_status read_tokenizer_rules(const std::string &directory, tokenizer_rules &out, tokenizer_json &file);

// Functions that the readers of the files share.
ss1_status check_value(const json &object, const std::string &where, const char *name, key need, const char *expected);
ss1_status read_added_token(const json &token, const std::string &where, int64_t id, tokenizer_rules &out);
ss1_status read_tokenizer_json(const std::string &directory, tokenizer_rules &rules, tokenizer_json &out);

// Returns the vocabulary of a tokenizer.json as lines of a vocab.txt, or compares it with the vocab.txt `path`.
ss1_status vocabulary_lines(const tokenizer_json &file, std::string &text);
ss1_status check_same_vocabulary(const tokenizer_json &file, const vocabulary &lines, const std::string &path);

ss1_status tokenizer_load(ss1_context &context, const std::string &directory, ss1_tokenizer &out);
void tokenizer_describe(const ss1_tokenizer &tokenizer, ss1_tokenizer_info &info) noexcept;
ss1_status tokenizer_encode(const ss1_tokenizer &tokenizer, const ss1_tokenize_args &args);

}  // namespace ss1
