// SPDX-License-Identifier: Apache-2.0
// Reads tokenizer.json, which Hugging Face saves beside vocab.txt or in its place.
#include "base/status.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "text/tokenizer.hpp"

namespace ss1 {
namespace {

constexpr size_t max_id = (size_t{1} << 24) - 1;  // bounds the memory for ids that a file leaves out

// Large vocabularies need more than the usual 16 MiB: that of XLM-RoBERTa has 17 MB.
ss1_status read_document(const std::string &path, json_document &out) {
    json_limits limits;
    limits.bytes = size_t{64} << 20;
    std::string text;
    SS1_TRY(file_read_text(path, limits.bytes, text));
    SS1_TRY(json_parse(text, path.c_str(), limits, out));
    return json_is_object(out.root(), path);
}

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
    const bool counts = rules.follows_file || !file_exists(directory + "/vocab.txt");
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

// The file's direction counts if tokenizer_config.json has no truncation_side; its max_length for static embeddings.
ss1_status read_truncation(const json &root, const std::string &path, tokenizer_rules &out) {
    const std::string where = path + ": truncation";
    const json *truncation;
    SS1_TRY(json_member(root, path, "truncation", key::optional, truncation));
    if (!truncation || truncation->is_null()) return SS1_OK;
    std::string direction = "Right";
    SS1_TRY(json_is_object(*truncation, where));
    SS1_TRY(json_string(*truncation, where, "direction", key::optional, direction));
    SS1_CHECK(direction == "Left" || direction == "Right", SS1_ERROR_FORMAT,
              "%s: direction is '%s', must be 'Left' or 'Right'", where.c_str(), printable(direction).c_str());
    out.file_cuts_beginning = direction == "Left";
    if (!out.cuts_beginning) out.cuts_beginning = out.file_cuts_beginning;
    return json_size(*truncation, where, "max_length", key::optional, 1, SIZE_MAX / 2, out.file_max_tokens);
}

const json *member_of(const json *object, const char *name) {
    const json *out = nullptr;
    if (object && object->is_object()) json_member(*object, "", name, key::optional, out);
    return out;
}

bool is_text(const json *value, std::string_view text) {
    return value && value->is_string() && value->string() == text;
}

// Whether words.hpp does what the file says.
bool has_word_rules(const json &root) {
    const json *const model = member_of(&root, "model"), *const type = member_of(model, "type"),
                      *const longest = member_of(model, "max_input_chars_per_word"),
                      *const normalizer = member_of(&root, "normalizer"),
                      *const clean = member_of(normalizer, "clean_text");
    const bool cleans = !clean || (clean->is_boolean() && clean->boolean());
    return model && !member_of(model, "merges") && (!type || is_text(type, "WordPiece")) &&
           is_text(member_of(model, "continuing_subword_prefix"), "##") &&
           (!longest || longest->natural() == max_word_chars) &&
           is_text(member_of(normalizer, "type"), "BertNormalizer") && cleans &&
           is_text(member_of(member_of(&root, "pre_tokenizer"), "type"), "BertPreTokenizer");
}

// The model's unknown token and the post-processor count unless the class is one of BERT's.
ss1_status add_model(const std::string &directory, const tokenizer_json &file, const json &model,
                     tokenizer_rules &rules) {
    if (!rules.follows_file && file_exists(directory + "/vocab.txt")) return SS1_OK;
    post_processor processor;
    SS1_TRY(read_post_processor(file.root(), file.path, processor));
    const bool adds = processor.single.specials() || processor.pair.specials();
    if (rules.follows_file || adds) rules.processor = std::move(processor);
    if (!rules.follows_file) return SS1_OK;
    return json_string(model, file.path + ": model", "unk_token", key::required, rules.model_unknown);
}

}  // namespace

ss1_status read_tokenizer_json(const std::string &directory, tokenizer_rules &rules, tokenizer_json &out) {
    const std::string path = out.path = directory + "/tokenizer.json";
    if (!file_exists(path)) return SS1_OK;
    SS1_TRY(read_document(path, out.document));
    SS1_TRY(read_truncation(out.root(), path, rules));
    SS1_TRY(read_added_tokens(out.root(), path, rules));
    if (!has_word_rules(out.root()) && (rules.follows_file || !file_exists(directory + "/vocab.txt"))) {
        rules.follows_file = true;
        out.form = tokenizer_form::pipeline;
        SS1_TRY(read_post_processor(out.root(), path, rules.processor.emplace()));
        out.vocab = member_of(member_of(&out.root(), "model"), "vocab");
        return SS1_OK;
    }
    out.form = tokenizer_form::words;
    const json *model, *pre_tokenizer;
    SS1_TRY(object_member(out.root(), path, "model", model));
    SS1_TRY(check_value(*model, path + ": model", "type", key::optional, "WordPiece"));  // tokenizers 0.9 wrote no type
    SS1_TRY(check_value(*model, path + ": model", "continuing_subword_prefix", key::required, "##"));
    size_t longest = max_word_chars;
    SS1_TRY(json_size(*model, path + ": model", "max_input_chars_per_word", key::optional, 1, SIZE_MAX, longest));
    SS1_CHECK(longest == max_word_chars, SS1_ERROR_UNSUPPORTED,
              "%s: model: max_input_chars_per_word %zu is not supported, %zu is", path.c_str(), longest,
              max_word_chars);
    SS1_TRY(object_member(out.root(), path, "pre_tokenizer", pre_tokenizer));
    SS1_TRY(check_value(*pre_tokenizer, path + ": pre_tokenizer", "type", key::required, "BertPreTokenizer"));
    stated_rules words;
    SS1_TRY(read_normalizer(out.root(), path, words));
    SS1_TRY(add_normalizer(directory, words, rules));
    SS1_TRY(add_model(directory, out, *model, rules));
    return object_member(*model, path + ": model", "vocab", out.vocab);
}

// vocab.json with merges.txt: GPT-2's and RoBERTa's byte-level BPE.
ss1_status read_vocab_json(const std::string &directory, tokenizer_rules &rules, tokenizer_json &out) {
    const std::string &name = rules.tokenizer_class;
    const bool roberta = name.starts_with("RobertaTokenizer") || (name.empty() && rules.model_type == "roberta"),
               gpt2 = name.starts_with("GPT2Tokenizer") || (name.empty() && rules.model_type == "gpt2");
    out.path = directory + "/vocab.json";
    SS1_CHECK(
        roberta || gpt2, SS1_ERROR_UNSUPPORTED,
        "%s: the tokenizer of tokenizer_class '%s' and model_type '%s' is not supported without a tokenizer.json; "
        "RobertaTokenizer and GPT2Tokenizer are",
        out.path.c_str(), printable(name).c_str(), printable(rules.model_type).c_str());
    SS1_TRY(read_document(out.path, out.document));
    out.vocab = &out.root();
    out.form = tokenizer_form::merges;
    rules.follows_file = true;
    const auto usual = [](token_role &role, const char *text, bool lstrip) {
        if (role.stated) return;
        role.text = text;
        role.stated = true;
        role.flags.lstrip = lstrip;
    };
    usual(rules.unk, roberta ? "<unk>" : "<|endoftext|>", false);
    rules.processor.emplace();
    if (!roberta) return SS1_OK;
    rules.roberta = true;
    usual(rules.cls, "<s>", false);
    usual(rules.sep, "</s>", false);
    usual(rules.pad, "<pad>", false);
    usual(rules.mask, "<mask>", true);
    return SS1_OK;
}

ss1_status read_vocab(const tokenizer_json &file, std::vector<vocabulary_entry> &out) {
    const std::string where = file.path + (file.vocab == &file.root() ? "" : ": model: vocab");
    SS1_CHECK(file.vocab, SS1_ERROR_FORMAT, "%s: key 'vocab' is missing", where.c_str());
    SS1_TRY(json_is_object(*file.vocab, where));
    for (const json &id : *file.vocab) {
        const std::string_view token = id.key();
        SS1_CHECK(token.find('\0') == token.npos, SS1_ERROR_FORMAT, "%s: the token '%s' has a zero byte", where.c_str(),
                  printable(token).c_str());
        size_t number = 0;
        SS1_TRY(json_size_value(id, where + "['" + printable(token) + "']", 0, max_id, number));
        out.push_back({token, static_cast<int32_t>(number)});
    }
    return SS1_OK;
}

ss1_status check_same_vocabulary(const tokenizer_json &file, const vocabulary &lines, const std::string &path) {
    for (size_t id = 0; id < lines.own_end(); ++id) {
        const char *const token = lines.token(id);
        if (lines.find(token) != static_cast<int32_t>(id)) continue;  // the last of several equal tokens counts
        const json *const other = file.vocab->find(token);
        SS1_CHECK(other && other->is_natural() && other->natural() == id, SS1_ERROR_FORMAT,
                  "%s: line %zu: '%s' has the id %zu, but in %s: %s", path.c_str(), id + 1, printable(token).c_str(),
                  id, file.path.c_str(), other ? printable(other->text()).c_str() : "model: vocab lacks it");
    }
    if (file.vocab->size() == lines.own_tokens()) return SS1_OK;
    for (const json &id : *file.vocab)
        SS1_CHECK(lines.find(id.key()) != vocabulary::none, SS1_ERROR_FORMAT, "%s: model: vocab: '%s' is not in %s",
                  file.path.c_str(), printable(id.key()).c_str(), path.c_str());
    return SS1_OK;
}

}  // namespace ss1
