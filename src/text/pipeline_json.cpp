// SPDX-License-Identifier: Apache-2.0
#include "text/pipeline_json.hpp"

#include <algorithm>

#include "base/status.hpp"
#include "io/file.hpp"

namespace ss1 {
namespace {

// Reads a member that null or absence turns off.
ss1_status read_optional_text(const json &object, const std::string &where, const char *name, std::string &out) {
    const json *value;
    SS1_TRY(json_member(object, where, name, key::optional, value));
    return value && !value->is_null() ? json_string(object, where, name, key::required, out) : SS1_OK;
}

// Splits "left right".
ss1_status split_merge(std::string_view text, const std::string &where, std::string &left, std::string &right) {
    const size_t blank = text.find(' ');
    SS1_CHECK(blank != text.npos && text.find(' ', blank + 1) == text.npos, SS1_ERROR_FORMAT,
              "%s: '%s' must be two tokens with one blank between them", where.c_str(), printable(text).c_str());
    left = text.substr(0, blank);
    right = text.substr(blank + 1);
    return SS1_OK;
}

// As in tokenizers, a list in the notation of merges.txt may have its first line.
ss1_status read_merge(const json &value, const std::string &where, bpe_rules &out) {
    if (value.is_string() && value.string().starts_with("#version")) return SS1_OK;
    auto &[left, right] = out.merges.emplace_back();
    if (value.is_array()) {
        SS1_CHECK(value.size() == 2 && value[0].is_string() && value[1].is_string(), SS1_ERROR_FORMAT,
                  "%s: must be two strings", where.c_str());
        left = value[0].string();
        right = value[1].string();
        return SS1_OK;
    }
    SS1_CHECK(value.is_string(), SS1_ERROR_FORMAT, "%s: is of type %s, must be a string or an array", where.c_str(),
              value.type_name());
    return split_merge(value.string(), where, left, right);
}

ss1_status refuse_dropout(const json &model, const std::string &where) {
    const json *value;
    SS1_TRY(json_member(model, where, "dropout", key::optional, value));
    if (!value || value->is_null()) return SS1_OK;
    double dropout = 0;
    SS1_TRY(json_number(model, where, "dropout", key::required, dropout));
    SS1_CHECK(dropout == 0, SS1_ERROR_UNSUPPORTED, "%s: dropout %g is not supported: it makes ids random",
              where.c_str(), dropout);
    return SS1_OK;
}

ss1_status read_bpe(const json &model, const std::string &where, const allocator &memory, pipeline &out) {
    bpe_rules rules;
    const json *merges;
    SS1_TRY(refuse_dropout(model, where));
    SS1_TRY(read_optional_text(model, where, "unk_token", rules.unknown));
    SS1_TRY(read_optional_text(model, where, "continuing_subword_prefix", rules.prefix));
    SS1_TRY(read_optional_text(model, where, "end_of_word_suffix", rules.suffix));
    SS1_TRY(json_bool(model, where, "fuse_unk", key::optional, rules.fuse_unknown));
    SS1_TRY(json_bool(model, where, "byte_fallback", key::optional, rules.byte_fallback));
    SS1_TRY(json_bool(model, where, "ignore_merges", key::optional, rules.ignore_merges));
    SS1_CHECK(!rules.byte_fallback || (rules.prefix.empty() && rules.suffix.empty()), SS1_ERROR_UNSUPPORTED,
              "%s: byte_fallback is not supported with continuing_subword_prefix and end_of_word_suffix",
              where.c_str());
    SS1_TRY(json_array(model, where, "merges", merges));
    rules.merges.reserve(merges->size());
    for (size_t i = 0; i < merges->size(); ++i)
        SS1_TRY(read_merge((*merges)[i], where + ": merges[" + std::to_string(i) + "]", rules));
    rules.bytes = out.splitting.to_bytes;
    SS1_CHECK(!rules.bytes || (rules.prefix.empty() && rules.suffix.empty()), SS1_ERROR_UNSUPPORTED,
              "%s: continuing_subword_prefix and end_of_word_suffix are not supported with ByteLevel", where.c_str());
    out.kind = model_kind::bpe;
    if (!rules.unknown.empty()) out.unknown = out.all->find_own(rules.unknown);
    return out.merging.load(memory, *out.all, rules, where);
}

// A text is compared with every token that may begin at each of its bytes.
ss1_status check_token(std::string_view token, const std::string &where) {
    constexpr size_t longest = 1024;
    SS1_CHECK(token.size() <= longest, SS1_ERROR_UNSUPPORTED,
              "%s: vocab: a token of %zu bytes is not supported, at most %zu are", where.c_str(), token.size(),
              longest);
    return SS1_OK;
}

ss1_status read_word_piece(const json &model, const std::string &where, vocabulary &all, pipeline &out) {
    std::string unknown = "[UNK]", prefix = "##";
    out.max_word_chars = 100;
    SS1_TRY(json_string(model, where, "unk_token", key::required, unknown));
    SS1_TRY(json_string(model, where, "continuing_subword_prefix", key::required, prefix));
    SS1_TRY(json_size(model, where, "max_input_chars_per_word", key::required, 1, SIZE_MAX, out.max_word_chars));
    all.set_continuation(prefix);
    out.kind = model_kind::word_piece;
    out.unknown = all.find_own(unknown);
    SS1_CHECK(out.unknown != vocabulary::none, SS1_ERROR_FORMAT, "%s: vocab lacks the unk_token '%s'", where.c_str(),
              printable(unknown).c_str());
    return SS1_OK;
}

ss1_status read_word_level(const json &model, const std::string &where, pipeline &out) {
    std::string unknown;
    SS1_TRY(json_string(model, where, "unk_token", key::required, unknown));
    out.kind = model_kind::word_level;
    out.unknown = out.all->find_own(unknown);
    SS1_CHECK(out.unknown != vocabulary::none, SS1_ERROR_FORMAT, "%s: vocab lacks the unk_token '%s'", where.c_str(),
              printable(unknown).c_str());
    return SS1_OK;
}

ss1_status read_unigram(const json &model, const std::string &where, const allocator &memory, vocabulary &all,
                        pipeline &out) {
    const json *pieces;
    std::vector<vocabulary_entry> entries;
    std::vector<double> scores;
    SS1_TRY(json_array(model, where, "vocab", pieces));
    for (size_t i = 0; i < pieces->size(); ++i) {
        const json &piece = (*pieces)[i];
        SS1_CHECK(piece.is_array() && piece.size() == 2 && piece[0].is_string() && piece[1].is_number(),
                  SS1_ERROR_FORMAT, "%s: vocab[%zu]: must be a text and a score", where.c_str(), i);
        SS1_TRY(check_token(piece[0].string(), where));
        entries.push_back({piece[0].string(), static_cast<int32_t>(i)});
        scores.push_back(piece[1].number());
    }
    SS1_TRY(all.take(memory, entries, (where + ": vocab").c_str()));
    size_t unknown = 0;
    bool byte_fallback = false;
    SS1_TRY(json_size(model, where, "unk_id", key::required, 0, entries.size() - 1, unknown));
    SS1_TRY(json_bool(model, where, "byte_fallback", key::optional, byte_fallback));
    out.kind = model_kind::unigram;
    out.unknown = static_cast<int32_t>(unknown);
    return out.scoring.load(memory, all, scores, out.unknown, byte_fallback);
}

ss1_status read_model(const tokenizer_json &file, const allocator &memory, vocabulary &all, pipeline &out) {
    const std::string where = file.path + ": model";
    const json *model, *merges, *unk_id;
    SS1_TRY(json_member(file.root(), file.path, "model", key::required, model));
    SS1_TRY(json_is_object(*model, where));
    SS1_TRY(json_member(*model, where, "merges", key::optional, merges));
    SS1_TRY(json_member(*model, where, "unk_id", key::optional, unk_id));
    std::string type = merges ? "BPE" : unk_id ? "Unigram" : "WordPiece";  // tokenizers 0.9 wrote no type
    SS1_TRY(json_string(*model, where, "type", key::optional, type));
    SS1_CHECK(type == "BPE" || !out.splitting.to_bytes, SS1_ERROR_UNSUPPORTED,
              "%s: type '%s' with the pre_tokenizer ByteLevel is not supported, 'BPE' is", where.c_str(),
              printable(type).c_str());
    if (type == "Unigram") return read_unigram(*model, where, memory, all, out);
    SS1_CHECK(type == "BPE" || type == "WordPiece" || type == "WordLevel", SS1_ERROR_UNSUPPORTED,
              "%s: type '%s' is not supported; BPE, Unigram, WordLevel and WordPiece are", where.c_str(),
              printable(type).c_str());
    std::vector<vocabulary_entry> entries;
    SS1_TRY(read_vocab(file, entries));
    SS1_TRY(all.take(memory, entries, (where + ": vocab").c_str()));
    for (const vocabulary_entry &entry : entries)
        if (type == "WordPiece") SS1_TRY(check_token(entry.text, where));
    return type == "BPE"         ? read_bpe(*model, where, memory, out)
           : type == "WordPiece" ? read_word_piece(*model, where, all, out)
                                 : read_word_level(*model, where, out);
}

}  // namespace

ss1_status read_pipeline(const tokenizer_json &file, const allocator &memory, vocabulary &all, pipeline &out) {
    out.all = &all;
    SS1_TRY(read_normalizer(file.root(), file.path, out.normalizing));
    SS1_TRY(read_pre_tokenizer(file.root(), file.path, out.splitting));
    return read_model(file, memory, all, out);
}

ss1_status read_merges_file(const std::string &directory, const tokenizer_json &file, bool add_prefix_space,
                            const allocator &memory, vocabulary &all, pipeline &out) {
    const std::string path = directory + "/merges.txt";
    std::string text;
    std::vector<vocabulary_entry> entries;
    bpe_rules rules;
    out.all = &all;
    out.kind = model_kind::bpe;
    out.splitting = byte_level_pre_tokenizer(add_prefix_space);
    rules.bytes = true;
    SS1_TRY(read_vocab(file, entries));
    SS1_TRY(all.take(memory, entries, file.path.c_str()));
    SS1_TRY(file_read_text(path, vocabulary::max_bytes, text));
    size_t number = 1;
    for (size_t begin = 0; begin < text.size(); ++number) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        std::string_view line = std::string_view(text).substr(begin, end - begin);
        begin = end + 1;
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.starts_with("#version") || line.empty()) continue;
        auto &[left, right] = rules.merges.emplace_back();
        SS1_TRY(split_merge(line, path + ": line " + std::to_string(number), left, right));
    }
    return out.merging.load(memory, all, rules, path);
}

pipeline bert_pipeline(const word_rules &rules, const vocabulary &all, int32_t unknown) {
    pipeline out;
    out.all = &all;
    out.unknown = unknown;
    out.max_word_chars = max_word_chars;
    out.normalizing = bert_normalizer(rules);
    out.splitting = bert_pre_tokenizer();
    return out;
}

}  // namespace ss1
