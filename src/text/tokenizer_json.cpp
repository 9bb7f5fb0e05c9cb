// SPDX-License-Identifier: Apache-2.0
// tokenizer.json of a WordPiece model, as Hugging Face's transformers 5 saves it in the place of vocab.txt.
#include "io/file.hpp"
#include "io/json.hpp"
#include "status.hpp"
#include "text/tokenizer.hpp"

namespace ss1 {
namespace {

// Refuses a part of the file that is not what a BertTokenizer has: `part`.`name` must be `expected`.
ss1_status check_text(const json &part, const std::string &where, const char *name, const char *expected) {
    std::string value;
    SS1_TRY(json_string(part, where, name, key::required, value));
    SS1_CHECK(value == expected, SS1_ERROR_UNSUPPORTED, "%s: %s '%s' is not supported, '%s' is", where.c_str(), name,
              printable(value).c_str(), expected);
    return SS1_OK;
}

ss1_status object_member(const json &object, const std::string &where, const char *name, const json *&out) {
    SS1_TRY(json_member(object, where, name, key::required, out));
    return json_is_object(*out, where + ": " + name);
}

ss1_status read_normalizer(const json &root, const std::string &path, word_rules &out) {
    const std::string where = path + ": normalizer";
    const json *normalizer;
    SS1_TRY(object_member(root, path, "normalizer", normalizer));
    SS1_TRY(check_text(*normalizer, where, "type", "BertNormalizer"));
    bool clean_text = true;
    SS1_TRY(json_bool(*normalizer, where, "clean_text", key::optional, clean_text));
    SS1_CHECK(clean_text, SS1_ERROR_UNSUPPORTED, "%s: clean_text is false, which is not supported", where.c_str());
    SS1_TRY(json_bool(*normalizer, where, "lowercase", key::required, out.lower_case));
    SS1_TRY(json_bool(*normalizer, where, "handle_chinese_chars", key::required, out.split_ideographs));
    out.strip_accents = out.lower_case;
    const auto strip = normalizer->find("strip_accents");
    if (strip == normalizer->end() || strip->is_null()) return SS1_OK;
    return json_bool(*normalizer, where, "strip_accents", key::optional, out.strip_accents);
}

ss1_status read_added_tokens(const json &root, const std::string &path, tokenizer_rules &out) {
    const json *added;
    SS1_TRY(json_member(root, path, "added_tokens", key::optional, added));
    if (!added || added->is_null()) return SS1_OK;
    SS1_CHECK(added->is_array(), SS1_ERROR_FORMAT, "%s: added_tokens: is of type %s, must be an array", path.c_str(),
              added->type_name());
    for (size_t i = 0; i < added->size(); ++i) {
        const std::string where = path + ": added_tokens[" + std::to_string(i) + "]";
        size_t id;
        SS1_TRY(json_is_object((*added)[i], where));
        SS1_TRY(json_size((*added)[i], where, "id", key::required, 0, INT32_MAX, id));
        SS1_TRY(read_added_token((*added)[i], where, static_cast<int64_t>(id), out));
    }
    return SS1_OK;
}

// The lines of a vocab.txt with the same tokens.
ss1_status read_vocabulary(const json &vocab, const std::string &where, std::string &text) {
    SS1_TRY(json_is_object(vocab, where));
    std::vector<const std::string *> tokens(vocab.size());
    for (const auto &[token, id] : vocab.items()) {
        size_t number = 0;
        const std::string entry = where + "['" + printable(token) + "']";
        SS1_TRY(json_size_value(id, entry, 0, vocab.size() - 1, number));
        SS1_CHECK(!tokens[number], SS1_ERROR_FORMAT, "%s: '%s' has the same id %zu", entry.c_str(),
                  printable(*tokens[number]).c_str(), number);
        SS1_CHECK(token.find_first_of("\r\n") == token.npos, SS1_ERROR_UNSUPPORTED, "%s: has a line end",
                  entry.c_str());
        tokens[number] = &token;
    }
    for (const std::string *token : tokens) (text += *token) += '\n';
    return SS1_OK;
}

}  // namespace

ss1_status read_tokenizer_json(const std::string &path, tokenizer_rules &rules, std::string &vocabulary_text) {
    const json_limits limits;
    std::string text;
    json root;
    SS1_TRY(file_read_text(path, limits.bytes, text));
    SS1_TRY(json_parse(text, path.c_str(), limits, root));
    SS1_TRY(json_is_object(root, path));
    const json *model, *pre_tokenizer, *vocab;
    SS1_TRY(object_member(root, path, "model", model));
    SS1_TRY(check_text(*model, path + ": model", "type", "WordPiece"));
    SS1_TRY(check_text(*model, path + ": model", "continuing_subword_prefix", "##"));
    size_t longest = max_word_chars;
    SS1_TRY(json_size(*model, path + ": model", "max_input_chars_per_word", key::optional, 1, SIZE_MAX, longest));
    SS1_CHECK(longest == max_word_chars, SS1_ERROR_UNSUPPORTED,
              "%s: model: max_input_chars_per_word %zu is not supported, %zu is", path.c_str(), longest,
              max_word_chars);
    SS1_TRY(object_member(root, path, "pre_tokenizer", pre_tokenizer));
    SS1_TRY(check_text(*pre_tokenizer, path + ": pre_tokenizer", "type", "BertPreTokenizer"));
    SS1_TRY(read_normalizer(root, path, rules.words));
    SS1_TRY(read_added_tokens(root, path, rules));
    SS1_TRY(json_member(*model, path + ": model", "vocab", key::required, vocab));
    return read_vocabulary(*vocab, path + ": model: vocab", vocabulary_text);
}

}  // namespace ss1
