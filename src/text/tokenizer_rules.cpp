// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>

#include "base/status.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "text/tokenizer.hpp"

namespace ss1 {
namespace {

constexpr size_t no_limit = size_t{1} << 31;  // Hugging Face writes 1e30 for no limit

// Reads a file that holds an object. `found` is false if the file does not exist.
ss1_status read_object(const std::string &path, json_document &out, bool &found) {
    found = file_exists(path);
    if (!found) return SS1_OK;
    const json_limits limits;
    std::string text;
    SS1_TRY(file_read_text(path, limits.bytes, text));
    SS1_TRY(json_parse(text, path.c_str(), limits, out));
    return json_is_object(out.root(), path);
}

ss1_status refuse_true(const json &config, const std::string &where, const char *name) {
    bool set = false;
    SS1_TRY(json_bool(config, where, name, key::optional, set));
    SS1_CHECK(!set, SS1_ERROR_UNSUPPORTED, "%s: %s is true, which is not supported", where.c_str(), name);
    return SS1_OK;
}

// Reads a token: its text, or an object with the text as `content` and how to find it.
ss1_status read_token(const json &token, const std::string &where, std::string &out, token_flags &flags) {
    flags = {};
    if (token.is_object()) {
        SS1_TRY(json_string(token, where, "content", key::required, out));
        SS1_TRY(json_bool(token, where, "lstrip", key::optional, flags.lstrip));
        SS1_TRY(json_bool(token, where, "rstrip", key::optional, flags.rstrip));
        SS1_TRY(json_bool(token, where, "single_word", key::optional, flags.single_word));
        SS1_TRY(json_bool(token, where, "normalized", key::optional, flags.normalized));
    } else {
        SS1_CHECK(token.is_string(), SS1_ERROR_FORMAT, "%s: is of type %s, must be a string or an object",
                  where.c_str(), token.type_name());
        out = token.string();
    }
    SS1_CHECK(is_name(out), SS1_ERROR_FORMAT, "%s: '%s' must have 1 to 512 bytes, no control characters", where.c_str(),
              printable(out).c_str());
    return SS1_OK;
}

ss1_status read_added(const json &token, const std::string &where, added_token &out) {
    out.where = where;
    return read_token(token, where, out.text, out.flags);
}

ss1_status read_role(const json &token, const std::string &where, token_role &out) {
    SS1_TRY(read_token(token, where, out.text, out.flags));
    out.flags.normalized = false;  // transformers looks for all special tokens in the text itself
    out.stated = true;
    return SS1_OK;
}

// Special tokens without an id. Hugging Face numbers the new ones in this order: bos_token and eos_token, other named
// ones, those in lists. If several files define a name, the last counts; lists are concatenated.
struct unnumbered_tokens {
    std::map<std::string, added_token> named;
    std::vector<added_token> listed;

    void move_to(std::vector<added_token> &out) {
        for (const char *name : {"bos_token", "eos_token"})
            if (auto node = named.extract(name)) out.push_back(std::move(node.mapped()));
        for (auto &[name, token] : named) out.push_back(std::move(token));
        out.insert(out.end(), std::make_move_iterator(listed.begin()), std::make_move_iterator(listed.end()));
    }
};

ss1_status read_unnumbered(const json &token, const std::string &where, bool in_order, added_token &out) {
    out.in_order = in_order;
    return read_added(token, where, out);
}

// Reads a list of tokens, or {name: token}.
ss1_status read_tokens(const json &config, const std::string &path, const char *key, unnumbered_tokens &out) {
    const json *const tokens = config.find(key);
    if (!tokens) return SS1_OK;
    const std::string where = path + ": " + key;
    SS1_CHECK(tokens->is_array() || tokens->is_object(), SS1_ERROR_FORMAT,
              "%s: is of type %s, must be an array or an object", where.c_str(), tokens->type_name());
    if (tokens->is_object()) {
        for (const json &token : *tokens)
            SS1_TRY(read_unnumbered(token, where + "['" + printable(token.key()) + "']", false,
                                    out.named[std::string(token.key())]));
        return SS1_OK;
    }
    for (size_t i = 0; i < tokens->size(); ++i) {
        added_token token;
        SS1_TRY(read_unnumbered((*tokens)[i], where + "[" + std::to_string(i) + "]", true, token));
        out.listed.push_back(std::move(token));
    }
    return SS1_OK;
}

ss1_status read_special_tokens(const json &config, const std::string &path, tokenizer_rules &out,
                               unnumbered_tokens &others) {
    const std::pair<const char *, token_role &> roles[] = {{"unk_token", out.unk},
                                                           {"sep_token", out.sep},
                                                           {"pad_token", out.pad},
                                                           {"cls_token", out.cls},
                                                           {"mask_token", out.mask}};
    for (const json &token : config) {
        if (token.is_null()) continue;
        const std::string_view name = token.key();
        const std::string where = path + ": " + printable(name);
        const auto role =
            std::find_if(std::begin(roles), std::end(roles), [&](const auto &r) { return name == r.first; });
        const bool known = name == "bos_token" || name == "eos_token";
        if (role != std::end(roles))
            SS1_TRY(read_role(token, where, role->second));
        else if (known || (name.ends_with("_token") && token.is_string()))
            SS1_TRY(read_unnumbered(token, where, known, others.named[std::string(name)]));
    }
    SS1_TRY(read_tokens(config, path, "additional_special_tokens", others));
    return read_tokens(config, path, "extra_special_tokens", others);
}

// Reads "added_tokens_decoder": {"0": {"content": "[PAD]", ...}}: the five special tokens again, and the added ones.
ss1_status read_added_tokens(const json &config, const std::string &path, tokenizer_rules &out) {
    const json *added;
    SS1_TRY(json_member(config, path, "added_tokens_decoder", key::optional, added));
    if (!added) return SS1_OK;
    out.lists_added = true;
    SS1_TRY(json_is_object(*added, path + ": added_tokens_decoder"));
    for (const json &token : *added) {
        const std::string_view number = token.key();
        const std::string where = path + ": added_tokens_decoder['" + printable(number) + "']";
        int32_t id = -1;
        const char *const end = number.data() + number.size();
        const auto [rest, error] = std::from_chars(number.data(), end, id);
        SS1_CHECK(error == std::errc() && rest == end && id >= 0, SS1_ERROR_FORMAT, "%s: is not the id of a token",
                  where.c_str());
        SS1_TRY(read_added_token(token, where, id, out));
    }
    return SS1_OK;
}

// Reads {"[NEW]": 30522}, which transformers wrote before it had added_tokens_decoder. The file does not say which
// tokens are special; Hugging Face looks for the others in the normalised text.
ss1_status read_added_tokens_file(const std::string &directory, tokenizer_rules &out) {
    const std::string path = directory + "/added_tokens.json";
    json_document document;
    bool found;
    SS1_TRY(read_object(path, document, found));
    if (!found) return SS1_OK;
    std::set<std::string> special = {out.unk.text, out.sep.text, out.pad.text, out.cls.text, out.mask.text};
    for (const added_token &token : out.added) special.insert(token.text);
    for (const json &id : document.root()) {
        if (id.is_null()) continue;
        const std::string text(id.key());
        const std::string where = path + ": '" + printable(text) + "'";
        size_t number = 0;
        SS1_TRY(json_size_value(id, where, 0, INT32_MAX, number));
        out.added.push_back({text, where, static_cast<int64_t>(number), true, {}});
        out.added.back().flags.normalized = !special.contains(text);
    }
    return SS1_OK;
}

ss1_status read_class(const json &config, const std::string &path, tokenizer_rules &out) {
    if (!out.tokenizer_class.empty() || !config.find("tokenizer_class")) return SS1_OK;
    out.class_path = path;
    return json_string(config, path, "tokenizer_class", key::required, out.tokenizer_class);
}

ss1_status read_stated(const json &config, const std::string &path, const char *name, std::optional<bool> &out) {
    if (!config.find(name)) return SS1_OK;
    bool value = false;
    SS1_TRY(json_bool(config, path, name, key::required, value));
    out = value;
    return SS1_OK;
}

ss1_status read_tokenizer_config(const std::string &path, const json &config, tokenizer_rules &out,
                                 unnumbered_tokens &others) {
    SS1_TRY(read_class(config, path, out));
    SS1_TRY(check_value(config, path, "word_tokenizer_type", key::optional, "basic"));  // BertJapaneseTokenizer's
    SS1_TRY(check_value(config, path, "subword_tokenizer_type", key::optional, "wordpiece"));
    std::string side;
    SS1_TRY(json_string(config, path, "truncation_side", key::optional, side));
    SS1_CHECK(side.empty() || side == "left" || side == "right", SS1_ERROR_FORMAT,
              "%s: truncation_side is '%s', must be 'left' or 'right'", path.c_str(), printable(side).c_str());
    if (!side.empty()) out.cuts_beginning = side == "left";
    SS1_TRY(json_bool(config, path, "add_prefix_space", key::optional, out.add_prefix_space));
    SS1_TRY(json_bool(config, path, "add_bos_token", key::optional, out.adds_bos));
    SS1_TRY(json_bool(config, path, "add_eos_token", key::optional, out.adds_eos));
    SS1_TRY(refuse_true(config, path, "split_special_tokens"));
    SS1_TRY(read_stated(config, path, "do_lower_case", out.words.lower_case));
    SS1_TRY(read_stated(config, path, "strip_accents", out.words.strip_accents));
    SS1_TRY(read_stated(config, path, "tokenize_chinese_chars", out.words.split_ideographs));
    double limit = no_limit;
    SS1_TRY(json_number(config, path, "model_max_length", key::optional, limit));
    SS1_CHECK(limit >= 2, SS1_ERROR_FORMAT, "%s: model_max_length is %g, must be at least 2", path.c_str(), limit);
    if (limit < static_cast<double>(no_limit)) out.max_tokens = static_cast<size_t>(limit);
    SS1_TRY(read_special_tokens(config, path, out, others));
    return read_added_tokens(config, path, out);
}

// Reads the family of the model and its limit of tokens. RoBERTa's positions begin behind that of the padding token.
ss1_status read_model_config(const std::string &path, const json &config, tokenizer_rules &out) {
    constexpr std::array begin_later = {"roberta", "xlm-roberta", "camembert", "mpnet"};
    SS1_TRY(read_class(config, path, out));
    out.config_path = path;
    SS1_TRY(json_string(config, path, "model_type", key::optional, out.model_type));
    size_t limit = no_limit, first = 0;
    for (const char *name : {"max_position_embeddings", "n_positions"})  // NomicBERT has GPT-2's name
        SS1_TRY(json_size(config, path, name, key::optional, 1, no_limit, limit));
    if (std::find(begin_later.begin(), begin_later.end(), out.model_type) != begin_later.end()) {
        size_t pad = 1;
        SS1_TRY(json_size(config, path, "pad_token_id", key::optional, 0, no_limit, pad));
        first = pad + 1;
    }
    if (limit != no_limit && limit > first) out.max_positions = limit - first;
    return SS1_OK;
}

bool is_bert_class(const std::string &name) noexcept {
    constexpr std::array known = {"BertTokenizer",           "BertTokenizerFast", "DistilBertTokenizer",
                                  "DistilBertTokenizerFast", "ElectraTokenizer",  "ElectraTokenizerFast"};
    return std::find(known.begin(), known.end(), name) != known.end();
}

bool is_general_class(const std::string &name) noexcept {
    return name == "TokenizersBackend" || name == "PreTrainedTokenizerFast";
}

// Without a tokenizer.json the class says what the other files mean.
ss1_status check_class(const tokenizer_rules &rules, const tokenizer_json &file) {
    if (file.form == tokenizer_form::pipeline || file.form == tokenizer_form::merges) return SS1_OK;
    const std::string &name = rules.tokenizer_class, &type = rules.model_type;
    SS1_CHECK(name.empty() || is_bert_class(name) || is_general_class(name) || rules.follows_file,
              SS1_ERROR_UNSUPPORTED, "%s: tokenizer_class '%s' is not supported without a tokenizer.json",
              rules.class_path.c_str(), printable(name).c_str());
    SS1_CHECK(type.empty() || type == "bert" || type == "distilbert" || type == "electra" || type == "model2vec" ||
                  rules.follows_file || is_bert_class(name),
              SS1_ERROR_UNSUPPORTED, "%s: the tokenizer of model_type '%s' is not supported without a tokenizer.json",
              rules.config_path.c_str(), printable(type).c_str());
    return SS1_OK;
}

}  // namespace

// Checks that `object`.`name`, if present, has the value `expected` of a BertTokenizer.
ss1_status check_value(const json &object, const std::string &where, const char *name, key need, const char *expected) {
    std::string value = expected;
    SS1_TRY(json_string(object, where, name, need, value));
    SS1_CHECK(value == expected, SS1_ERROR_UNSUPPORTED, "%s: %s '%s' is not supported, '%s' is", where.c_str(), name,
              printable(value).c_str(), expected);
    return SS1_OK;
}

// Reads an added token: {"content": "[NEW]", ...}.
ss1_status read_added_token(const json &token, const std::string &where, int64_t id, tokenizer_rules &out) {
    added_token added;
    added.id = id;
    SS1_TRY(json_is_object(token, where));
    SS1_TRY(read_added(token, where, added));
    out.added.push_back(std::move(added));
    return SS1_OK;
}

ss1_status read_tokenizer_rules(const std::string &directory, tokenizer_rules &out, tokenizer_json &file) {
    json_document document;
    bool found;
    unnumbered_tokens others;
    std::string path = directory + "/tokenizer_config.json";
    SS1_TRY(read_object(path, document, found));
    if (found) SS1_TRY(read_tokenizer_config(path, document.root().without_nulls(), out, others));
    path = directory + "/special_tokens_map.json";
    found = false;
    if (!out.lists_added) SS1_TRY(read_object(path, document, found));
    if (found) SS1_TRY(read_special_tokens(document.root().without_nulls(), path, out, others));
    path = directory + "/config.json";
    SS1_TRY(read_object(path, document, found));
    if (found) SS1_TRY(read_model_config(path, document.root().without_nulls(), out));
    others.move_to(out.added);
    const bool lines = file_exists(directory + "/vocab.txt");
    out.follows_file = file_exists(directory + "/tokenizer.json") &&
                       (is_general_class(out.tokenizer_class) ||
                        (out.tokenizer_class.empty() ? !lines : !is_bert_class(out.tokenizer_class)));
    SS1_TRY(read_tokenizer_json(directory, out, file));
    if (file.form == tokenizer_form::lines && !lines && file_exists(directory + "/vocab.json"))
        SS1_TRY(read_vocab_json(directory, out, file));
    SS1_TRY(check_class(out, file));
    return out.lists_added ? SS1_OK : read_added_tokens_file(directory, out);
}

}  // namespace ss1
