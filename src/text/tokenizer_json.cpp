// SPDX-License-Identifier: Apache-2.0
// Reads the tokenizer.json of a WordPiece model, which Hugging Face's tokenizers save beside vocab.txt or in its place.
#include "base/status.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "text/tokenizer.hpp"

namespace ss1 {
namespace {

ss1_status object_member(const json &object, const std::string &where, const char *name, const json *&out) {
    SS1_TRY(json_member(object, where, name, key::required, out));
    return json_is_object(*out, where + ": " + name);
}

ss1_status read_normalizer(const json &root, const std::string &path, stated_rules &out) {
    const std::string where = path + ": normalizer";
    const json *normalizer;
    SS1_TRY(object_member(root, path, "normalizer", normalizer));
    SS1_TRY(check_value(*normalizer, where, "type", key::required, "BertNormalizer"));
    bool clean_text = true, lower_case = false, split_ideographs = false, strip_accents = false;
    SS1_TRY(json_bool(*normalizer, where, "clean_text", key::optional, clean_text));
    SS1_CHECK(clean_text, SS1_ERROR_UNSUPPORTED, "%s: clean_text is false, which is not supported", where.c_str());
    SS1_TRY(json_bool(*normalizer, where, "lowercase", key::required, lower_case));
    SS1_TRY(json_bool(*normalizer, where, "handle_chinese_chars", key::required, split_ideographs));
    out.lower_case = lower_case;
    out.split_ideographs = split_ideographs;
    const json *const strip = normalizer->find("strip_accents");
    if (!strip || strip->is_null()) return SS1_OK;
    SS1_TRY(json_bool(*normalizer, where, "strip_accents", key::required, strip_accents));
    out.strip_accents = strip_accents;
    return SS1_OK;
}

// If both files state a rule, they must agree. A rule stated only in tokenizer.json applies unless vocab.txt exists and
// the class is BertTokenizer, which reads tokenizer_config.json and its own defaults only.
ss1_status add_normalizer(const std::string &directory, const stated_rules &file, tokenizer_rules &rules) {
    const bool counts = rules.tokenizer_class == "TokenizersBackend" ||
                        rules.tokenizer_class == "PreTrainedTokenizerFast" || !file_exists(directory + "/vocab.txt");
    const auto text = [](bool value) { return value ? "true" : "false"; };
    std::optional<bool> strip_accents = file.strip_accents;
    if (counts && !strip_accents) strip_accents = file.lower_case;  // the meaning of null there
    const struct {
        const char *name, *other_name;
        std::optional<bool> &value;
        std::optional<bool> other;
    } pairs[] = {
        {"do_lower_case", "lowercase", rules.words.lower_case, file.lower_case},
        {"strip_accents", "strip_accents", rules.words.strip_accents, strip_accents},
        {"tokenize_chinese_chars", "handle_chinese_chars", rules.words.split_ideographs, file.split_ideographs}};
    for (const auto &[name, other_name, value, other] : pairs) {
        SS1_CHECK(!value || !other || *value == *other, SS1_ERROR_FORMAT,
                  "%s/tokenizer_config.json: %s is %s, but %s/tokenizer.json: normalizer: %s is %s; they must be "
                  "equal, because Hugging Face's classes use one or the other",
                  directory.c_str(), name, text(*value), directory.c_str(), other_name, text(*other));
        if (!value && counts) value = other;
    }
    return SS1_OK;
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

ss1_status check_truncation(const json &root, const std::string &path) {
    const std::string where = path + ": truncation";
    const json *const truncation = root.find("truncation");
    if (!truncation || truncation->is_null()) return SS1_OK;
    SS1_TRY(json_is_object(*truncation, where));
    return check_value(*truncation, where, "direction", key::optional, "Right");
}

}  // namespace

ss1_status read_tokenizer_json(const std::string &directory, tokenizer_rules &rules, tokenizer_json &out) {
    const std::string path = out.path = directory + "/tokenizer.json";
    if (!file_exists(path)) return SS1_OK;
    const json_limits limits;
    std::string text;
    SS1_TRY(file_read_text(path, limits.bytes, text));
    SS1_TRY(json_parse(text, path.c_str(), limits, out.document));
    const json &root = out.document.root();
    SS1_TRY(json_is_object(root, path));
    const json *model, *pre_tokenizer;
    SS1_TRY(object_member(root, path, "model", model));
    SS1_TRY(check_value(*model, path + ": model", "type", key::optional, "WordPiece"));  // tokenizers 0.9 wrote no type
    SS1_TRY(check_value(*model, path + ": model", "continuing_subword_prefix", key::required, "##"));
    size_t longest = max_word_chars;
    SS1_TRY(json_size(*model, path + ": model", "max_input_chars_per_word", key::optional, 1, SIZE_MAX, longest));
    SS1_CHECK(longest == max_word_chars, SS1_ERROR_UNSUPPORTED,
              "%s: model: max_input_chars_per_word %zu is not supported, %zu is", path.c_str(), longest,
              max_word_chars);
    SS1_TRY(object_member(root, path, "pre_tokenizer", pre_tokenizer));
    SS1_TRY(check_value(*pre_tokenizer, path + ": pre_tokenizer", "type", key::required, "BertPreTokenizer"));
    stated_rules words;
    SS1_TRY(read_normalizer(root, path, words));
    SS1_TRY(add_normalizer(directory, words, rules));
    SS1_TRY(check_truncation(root, path));
    SS1_TRY(read_added_tokens(root, path, rules));
    return object_member(*model, path + ": model", "vocab", out.vocab);
}

ss1_status vocabulary_lines(const tokenizer_json &file, std::string &text) {
    const std::string where = file.path + ": model: vocab";
    std::vector<const json *> tokens(file.vocab->size());
    for (const json &id : *file.vocab) {
        const std::string_view token = id.key();
        size_t number = 0;
        const std::string entry = where + "['" + printable(token) + "']";
        SS1_TRY(json_size_value(id, entry, 0, tokens.size() - 1, number));
        SS1_CHECK(!tokens[number], SS1_ERROR_FORMAT, "%s: '%s' has the same id %zu", entry.c_str(),
                  printable(tokens[number]->key()).c_str(), number);
        SS1_CHECK(token.find_first_of("\r\n") == token.npos, SS1_ERROR_UNSUPPORTED, "%s: has a line end",
                  entry.c_str());
        tokens[number] = &id;
    }
    for (const json *id : tokens) (text += id->key()) += '\n';
    return SS1_OK;
}

ss1_status check_same_vocabulary(const tokenizer_json &file, const vocabulary &lines, const std::string &path) {
    for (size_t id = 0; id < lines.lines(); ++id) {
        const char *const token = lines.token(id);
        if (lines.find(token) != static_cast<int32_t>(id)) continue;  // the last of several equal tokens counts
        const json *const other = file.vocab->find(token);
        SS1_CHECK(other && other->is_natural() && other->natural() == id, SS1_ERROR_FORMAT,
                  "%s: line %zu: '%s' has the id %zu, but in %s: %s", path.c_str(), id + 1, printable(token).c_str(),
                  id, file.path.c_str(), other ? printable(other->text()).c_str() : "model: vocab lacks it");
    }
    if (file.vocab->size() == lines.different_lines()) return SS1_OK;
    for (const json &id : *file.vocab)
        SS1_CHECK(lines.find(id.key()) != vocabulary::none, SS1_ERROR_FORMAT, "%s: model: vocab: '%s' is not in %s",
                  file.path.c_str(), printable(id.key()).c_str(), path.c_str());
    return SS1_OK;
}

}  // namespace ss1
