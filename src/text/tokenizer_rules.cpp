// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>

#include "io/file.hpp"
#include "io/json.hpp"
#include "status.hpp"
#include "text/tokenizer.hpp"

namespace ss1 {
namespace {

constexpr size_t no_limit = size_t{1} << 31;  // Hugging Face writes 1e30 for none

// Without members that are null: they mean the default. `found` is false where there is no such file.
ss1_status read_object(const std::string &path, json &out, bool &found) {
    found = file_exists(path);
    if (!found) return SS1_OK;
    const json_limits limits;
    std::string text;
    SS1_TRY(file_read_text(path, limits.bytes, text));
    SS1_TRY(json_parse(text, path.c_str(), limits, out));
    SS1_TRY(json_is_object(out, path));
    for (auto member = out.begin(); member != out.end();)
        member = member->is_null() ? out.erase(member) : std::next(member);
    return SS1_OK;
}

// Ways of matching a token that only other tokenizers than BERT's own use.
ss1_status refuse_flags(const json &token, const std::string &where, std::initializer_list<const char *> flags) {
    for (const char *flag : flags) {
        bool set = false;
        SS1_TRY(json_bool(token, where, flag, key::optional, set));
        SS1_CHECK(!set, SS1_ERROR_UNSUPPORTED, "%s: %s is true, which is not supported", where.c_str(), flag);
    }
    return SS1_OK;
}

// A token is its text, or an object with the text as `content`.
ss1_status read_token(const json &config, const std::string &path, const char *name, std::string &out) {
    const auto found = config.find(name);
    if (found == config.end()) return SS1_OK;
    const std::string where = path + ": " + name;
    if (found->is_object()) {
        SS1_TRY(json_string(*found, where, "content", key::required, out));
        SS1_TRY(refuse_flags(*found, where, {"lstrip", "rstrip", "single_word"}));
    } else {
        SS1_TRY(json_string(config, path, name, key::required, out));
    }
    SS1_CHECK(is_name(out), SS1_ERROR_FORMAT, "%s: '%s' must have 1 to 512 bytes, no control characters", where.c_str(),
              printable(out).c_str());
    return SS1_OK;
}

ss1_status read_special_tokens(const json &config, const std::string &path, tokenizer_rules &out) {
    SS1_TRY(read_token(config, path, "unk_token", out.unk));
    SS1_TRY(read_token(config, path, "sep_token", out.sep));
    SS1_TRY(read_token(config, path, "pad_token", out.pad));
    SS1_TRY(read_token(config, path, "cls_token", out.cls));
    return read_token(config, path, "mask_token", out.mask);
}

// "added_tokens_decoder": {"0": {"content": "[PAD]", ...}}: the five above once more, and those that were added.
ss1_status read_added_tokens(const json &config, const std::string &path, tokenizer_rules &out) {
    const json *added;
    SS1_TRY(json_member(config, path, "added_tokens_decoder", key::optional, added));
    if (!added) return SS1_OK;
    SS1_TRY(json_is_object(*added, path + ": added_tokens_decoder"));
    for (const auto &[number, token] : added->items()) {
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

ss1_status check_class(const json &config, const std::string &path) {
    constexpr std::array known = {"BertTokenizer",           "BertTokenizerFast",      "DistilBertTokenizer",
                                  "DistilBertTokenizerFast", "ElectraTokenizer",       "ElectraTokenizerFast",
                                  "TokenizersBackend",       "PreTrainedTokenizerFast"};
    std::string name = known[0];
    SS1_TRY(json_string(config, path, "tokenizer_class", key::optional, name));
    SS1_CHECK(std::find(known.begin(), known.end(), name) != known.end(), SS1_ERROR_UNSUPPORTED,
              "%s: tokenizer_class '%s' is not supported, BertTokenizer is", path.c_str(), printable(name).c_str());
    return SS1_OK;
}

ss1_status read_tokenizer_config(const std::string &path, const json &config, tokenizer_rules &out) {
    SS1_TRY(check_class(config, path));
    SS1_TRY(json_bool(config, path, "do_lower_case", key::optional, out.words.lower_case));
    out.words.strip_accents = out.words.lower_case;  // where it is not said
    SS1_TRY(json_bool(config, path, "strip_accents", key::optional, out.words.strip_accents));
    SS1_TRY(json_bool(config, path, "tokenize_chinese_chars", key::optional, out.words.split_ideographs));
    double limit = no_limit;
    SS1_TRY(json_number(config, path, "model_max_length", key::optional, limit));
    SS1_CHECK(limit >= 2, SS1_ERROR_FORMAT, "%s: model_max_length is %g, must be at least 2", path.c_str(), limit);
    if (limit < static_cast<double>(no_limit)) out.max_tokens = static_cast<size_t>(limit);
    SS1_TRY(read_special_tokens(config, path, out));
    return read_added_tokens(config, path, out);
}

// Which family the model is of, and how many tokens it takes.
ss1_status read_model_config(const std::string &path, const json &config, tokenizer_rules &out) {
    std::string type = "bert";
    SS1_TRY(json_string(config, path, "model_type", key::optional, type));
    SS1_CHECK(type == "bert" || type == "distilbert", SS1_ERROR_UNSUPPORTED,
              "%s: the tokenizer of model_type '%s' is not supported, WordPiece of 'bert' and 'distilbert' is",
              path.c_str(), printable(type).c_str());
    size_t limit = no_limit;
    SS1_TRY(json_size(config, path, "max_position_embeddings", key::optional, 1, no_limit, limit));
    if (limit < no_limit && (out.max_tokens == 0 || limit < out.max_tokens)) out.max_tokens = limit;
    return SS1_OK;
}

}  // namespace

ss1_status read_added_token(const json &token, const std::string &where, int64_t id, tokenizer_rules &out) {
    std::string text;
    SS1_TRY(json_is_object(token, where));
    SS1_TRY(json_string(token, where, "content", key::required, text));
    SS1_CHECK(is_name(text), SS1_ERROR_FORMAT, "%s: content '%s' must have 1 to 512 bytes, no control characters",
              where.c_str(), printable(text).c_str());
    SS1_TRY(refuse_flags(token, where, {"lstrip", "rstrip", "single_word", "normalized"}));
    out.added.push_back({std::move(text), id});
    return SS1_OK;
}

ss1_status read_tokenizer_rules(const std::string &directory, tokenizer_rules &out) {
    json object;
    bool found;
    std::string path = directory + "/special_tokens_map.json";
    SS1_TRY(read_object(path, object, found));
    if (found) SS1_TRY(read_special_tokens(object, path, out));
    path = directory + "/tokenizer_config.json";
    SS1_TRY(read_object(path, object, found));
    if (found) SS1_TRY(read_tokenizer_config(path, object, out));
    path = directory + "/config.json";
    SS1_TRY(read_object(path, object, found));
    return found ? read_model_config(path, object, out) : SS1_OK;
}

}  // namespace ss1
