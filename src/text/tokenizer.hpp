// SPDX-License-Identifier: Apache-2.0
// Reads the tokenizer of a model directory and converts texts to ids.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.hpp"
#include "io/json.hpp"
#include "text/added_tokens.hpp"
#include "text/pipeline.hpp"
#include "text/post_processor.hpp"
#include "text/vocabulary.hpp"
#include "text/words.hpp"

namespace ss1 {

// A token that a file names to be cut out of texts.
struct added_token {
    static constexpr int64_t no_id = -1;

    std::string text, where;  // where: file and key, for messages
    int64_t id = no_id;       // no_id: from the vocabulary or another file, else the next free id
    bool in_order = true;     // false: a member of an object, which has no order
    token_flags flags{};
};

// word_rules; only the members that a file states have values.
struct stated_rules {
    std::optional<bool> lower_case, strip_accents, split_ideographs;
};

// A token with a part to play, e.g. [SEP].
struct token_role {
    std::string text;
    bool stated = false;  // by a file
    token_flags flags{};
};

struct tokenizer_rules {
    stated_rules words;
    token_role unk{"[UNK]"}, sep{"[SEP]"}, pad{"[PAD]"}, cls{"[CLS]"}, mask{"[MASK]"};
    std::vector<added_token> added;           // Hugging Face numbers those without id in this order
    std::string tokenizer_class, class_path;  // empty: no file names one
    std::string model_type, config_path;      // of config.json
    bool lists_added = false;  // in added_tokens_decoder, which overrides special_tokens_map.json and added_tokens.json
    size_t max_tokens = 0;     // model_max_length; 0: no limit
    size_t max_positions = 0;  // of the model; 0: no limit
    std::optional<bool> cuts_beginning;  // of rows that are too long
    size_t file_max_tokens = 0;          // `truncation` of tokenizer.json, without special tokens; 0: none
    bool file_cuts_beginning = false;
    bool add_prefix_space = false, roberta = false;  // without tokenizer.json
    bool adds_bos = false, adds_eos = false;         // transformers then makes a template of its own
    // The class is not one of BERT's, which have rules and special tokens of their own: tokenizer.json alone counts.
    bool follows_file = false;
    // Of tokenizer.json, where they count.
    std::string model_unknown;
    std::optional<post_processor> processor;
};

// lines: vocab.txt. words: a tokenizer.json with the rules of words.hpp. merges: vocab.json and merges.txt.
enum class tokenizer_form : uint8_t { lines, words, pipeline, merges };

struct tokenizer_json {
    tokenizer_form form = tokenizer_form::lines;
    std::string path;
    json_document document;
    const json *vocab = nullptr;  // {token: id}; NULL: the files have none

    const json &root() const noexcept { return document.root(); }
};

}  // namespace ss1

struct ss1_tokenizer {
    ss1::context_ref context;
    ss1::vocabulary vocabulary;
    ss1::word_rules rules;
    ss1::added_tokens added;           // found in the text before any rule applies
    int32_t unk, sep, pad, cls, mask;  // vocabulary::none: it has no such token
    ss1::post_processor processor;
    size_t max_tokens = 0;  // 0: no limit
    bool cuts_beginning = false;
    std::unique_ptr<ss1::pipeline> steps;  // NULL: rules, in one pass
};

namespace ss1 {

// Reads tokenizer_config.json, special_tokens_map.json, class and limit in config.json, tokenizer.json and
// added_tokens.json of a model directory if they exist.
ss1_status read_tokenizer_rules(const std::string &directory, tokenizer_rules &out, tokenizer_json &file);

// Functions that the readers of the files share.
ss1_status check_value(const json &object, const std::string &where, const char *name, key need, const char *expected);
ss1_status read_added_token(const json &token, const std::string &where, int64_t id, tokenizer_rules &out);
ss1_status read_tokenizer_json(const std::string &directory, tokenizer_rules &rules, tokenizer_json &out);
ss1_status read_vocab_json(const std::string &directory, tokenizer_rules &rules, tokenizer_json &out);

// Returns the vocabulary of a tokenizer.json, whose texts lie in `file`, or compares it with the vocab.txt `path`.
ss1_status read_vocab(const tokenizer_json &file, std::vector<vocabulary_entry> &out);
ss1_status check_same_vocabulary(const tokenizer_json &file, const vocabulary &lines, const std::string &path);

// Refuses text i of the argument `name` if it is NULL but not empty.
ss1_status check_text(const char *name, const ss1_text &text, size_t i) noexcept;

ss1_status tokenizer_load(ss1_context &context, const std::string &directory, ss1_tokenizer &out);
void tokenizer_describe(const ss1_tokenizer &tokenizer, ss1_tokenizer_info &info) noexcept;
ss1_status tokenizer_encode(const ss1_tokenizer &tokenizer, const ss1_tokenize_args &args);

}  // namespace ss1
