// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/abi.hpp"
#include "base/span.hpp"
#include "base/status.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/sentence_config.hpp"
#include "text/unicode.hpp"

namespace ss1 {
namespace {

// The output of a row from some token on: ids and, if requested, places in the text.
struct token_row {
    int64_t *ids, *begins, *ends;  // begins and ends may be NULL

    void set(size_t i, int64_t id, byte_range place = {}) const noexcept {
        ids[i] = id;
        if (begins) begins[i] = static_cast<int64_t>(place.begin);
        if (ends) ends[i] = static_cast<int64_t>(place.end);
    }
    token_row from(size_t i) const noexcept {
        return {ids + i, begins ? begins + i : nullptr, ends ? ends + i : nullptr};
    }
    bool with_places() const noexcept { return begins || ends; }
};

// Collects the tokens of one text: keeps the first `room` and stops counting after the word that reaches `enough`.
struct text_row {
    const ss1_tokenizer &tokenizer;
    token_row tokens;
    size_t room, enough;
    size_t count = 0;
    size_t part_begin = 0;  // added to the places of the words
    bool full = false;      // set by words only, not by special tokens

    void add_id(int64_t id) noexcept {
        if (count < room) tokens.ids[count] = id;
        ++count;
    }

    void add(int64_t id, byte_range place) noexcept {
        if (count < room) tokens.set(count, id, {part_begin + place.begin, part_begin + place.end});
        ++count;
    }

    bool add_word(std::string_view word, const word_places *places) noexcept {
        int32_t pieces[max_word_chars];
        const size_t n = word.empty() ? 0 : tokenizer.vocabulary.split(word, pieces);
        if (n == 0)
            add(tokenizer.unk, places ? places->word : byte_range());
        else if (places)
            add_pieces({pieces, n}, places->bytes);
        else
            for (size_t i = 0; i < n; ++i) add_id(pieces[i]);
        full = count >= enough;
        return !full;
    }

    void add_pieces(std::span<const int32_t> pieces, const byte_range *places) noexcept {
        size_t begin = 0;
        for (const int32_t id : pieces) {
            const size_t prefix = begin ? 2 : 0;  // ##
            const size_t end = begin + std::strlen(tokenizer.vocabulary.token(static_cast<size_t>(id))) - prefix;
            add(id, {places[begin].begin, places[end - 1].end});
            begin = end;
        }
    }
};

const special_token *special_at(const ss1_tokenizer &tokenizer, std::string_view rest) noexcept {
    if (!tokenizer.starts_special[static_cast<unsigned char>(rest.front())]) return nullptr;
    for (const special_token &token : tokenizer.special)
        if (rest.starts_with(token.text)) return &token;
    return nullptr;
}

// Cuts out special tokens first; the text between two of them is split into words on its own.
void add_text(std::string_view text, text_row &row) noexcept {
    const auto add_words = [&](size_t part_begin, size_t part_end) {
        row.part_begin = part_begin;
        split_words(
            row.tokenizer.rules, text.substr(part_begin, part_end - part_begin), row.tokens.with_places(),
            [](void *user, std::string_view word, const word_places *places) {
                return static_cast<text_row *>(user)->add_word(word, places);
            },
            &row);
    };
    size_t begin = 0;
    for (size_t i = 0; i < text.size() && !row.full;) {
        const special_token *const found = special_at(row.tokenizer, text.substr(i));
        if (!found) {
            ++i;
            continue;
        }
        if (i > begin) add_words(begin, i);
        row.part_begin = i;
        if (!row.full) row.add(found->id, {0, found->text.size()});
        begin = i += found->text.size();
    }
    if (!row.full && begin < text.size()) add_words(begin, text.size());
}

struct pair_lengths {
    size_t first, second;
};

// "longest_first" of Hugging Face's tokenizers: the longer text loses tokens until both have the same length, then both
// do; if `room` is odd, the longer text keeps one more. tokenizers 0.23 decides which one is longer after the word that
// makes a text max_tokens long (special tokens do not count).
pair_lengths truncate(size_t first, size_t second, size_t room) noexcept {
    if (first + second <= room) return {first, second};
    const size_t shorter = std::min({first, second, room / 2});
    return first > second ? pair_lengths{room - shorter, shorter} : pair_lengths{shorter, room - shorter};
}

std::string_view view(const ss1_text &text) noexcept {
    return {text.data, text.bytes};
}

// Writes [CLS] first [SEP]. @return the length.
size_t encode_text(const ss1_tokenizer &tokenizer, const ss1_text &text, size_t max_tokens, token_row out) noexcept {
    text_row row{tokenizer, out.from(1), max_tokens - 2, max_tokens - 2};
    add_text(view(text), row);
    const size_t n = std::min(row.count, row.room);
    out.set(0, tokenizer.cls);
    out.set(n + 1, tokenizer.sep);
    return n + 2;
}

// Writes [CLS] first [SEP] second [SEP]; the second text and type id 1 start at `second_begin`.
size_t encode_pair(const ss1_tokenizer &tokenizer, const ss1_text &first, const ss1_text &second, size_t max_tokens,
                   token_row out, size_t &second_begin) noexcept {
    const size_t room = max_tokens - 3;
    text_row a{tokenizer, out.from(1), room, max_tokens};
    add_text(view(first), a);
    const size_t kept = std::min(a.count, room);
    text_row b{tokenizer, out.from(2 + kept), room - kept, max_tokens};
    add_text(view(second), b);
    const pair_lengths n = truncate(a.count, b.count, room);
    if (n.first < kept) {  // the second text gets some room of the first
        text_row again{tokenizer, out.from(2 + n.first), n.second, n.second};
        add_text(view(second), again);
    }
    second_begin = n.first + 2;
    out.set(0, tokenizer.cls);
    out.set(n.first + 1, tokenizer.sep);
    out.set(n.first + n.second + 2, tokenizer.sep);
    return n.first + n.second + 3;
}

void encode_row(const ss1_tokenizer &tokenizer, const ss1_tokenize_args &args, size_t i) noexcept {
    const size_t T = args.max_tokens;
    const token_row row = token_row{args.input_ids, args.begins, args.ends}.from(i * args.ld);
    size_t second = T;
    const size_t n = args.second
                         ? encode_pair(tokenizer, element(args.first, i), element(args.second, i), T, row, second)
                         : encode_text(tokenizer, element(args.first, i), T, row);
    for (size_t t = n; t < T; ++t) row.set(t, tokenizer.pad);
    if (args.lengths) args.lengths[i] = n;
    if (int64_t *const mask = args.attention_mask) {
        std::fill_n(mask + i * args.ld, n, 1);
        std::fill_n(mask + i * args.ld + n, T - n, 0);
    }
    if (int64_t *const types = args.token_type_ids) {
        std::fill_n(types + i * args.ld, T, 0);
        if (second < n) std::fill(types + i * args.ld + second, types + i * args.ld + n, 1);
    }
}

// Hugging Face numbers new tokens without gaps from the size of the vocabulary on, whatever ids the files give.
ss1_status check_new(const added_token &token, const tokenizer_rules &rules, const std::string &path,
                     const vocabulary &all) {
    const std::string text = printable(token.text);
    SS1_CHECK(all.lines() == all.different_lines(), SS1_ERROR_UNSUPPORTED,
              "%s: '%s' is new, and %s has only %zu different tokens in %zu lines: Hugging Face's id for it is taken",
              token.where.c_str(), text.c_str(), path.c_str(), all.different_lines(), all.lines());
    if (token.id != added_token::no_id) {
        SS1_CHECK(token.id == static_cast<int64_t>(all.size()), SS1_ERROR_FORMAT,
                  "%s: '%s' has the id %lld, must be %zu: added tokens follow those of %s without gaps",
                  token.where.c_str(), text.c_str(), static_cast<long long>(token.id), all.size(), path.c_str());
        return SS1_OK;
    }
    SS1_CHECK(all.find(rules.mask) != vocabulary::none, SS1_ERROR_UNSUPPORTED,
              "%s: '%s' has no id, nor has the mask token '%s', which Hugging Face also adds", token.where.c_str(),
              text.c_str(), printable(rules.mask).c_str());
    return SS1_OK;
}

// Adds tokens with ids first, in the order of their ids.
ss1_status take_added(const tokenizer_rules &rules, const std::string &path, ss1_tokenizer &out) {
    std::vector<const added_token *> tokens;
    for (const added_token &token : rules.added) tokens.push_back(&token);
    std::stable_sort(tokens.begin(), tokens.end(), [](const auto *a, const auto *b) {
        return static_cast<uint64_t>(a->id) < static_cast<uint64_t>(b->id);  // no_id is the largest
    });
    const added_token *of_object = nullptr;
    for (const added_token *const token : tokens) {
        int32_t id = out.vocabulary.find(token->text);
        if (id == vocabulary::none) {
            SS1_TRY(check_new(*token, rules, path, out.vocabulary));
            if (!token->in_order) {
                SS1_CHECK(!of_object, SS1_ERROR_UNSUPPORTED,
                          "%s: '%s' has no id, nor has '%s': members of an object have no order", token->where.c_str(),
                          printable(token->text).c_str(), printable(of_object->text).c_str());
                of_object = token;
            }
            id = out.vocabulary.add(token->text);
        }
        SS1_CHECK(token->id == added_token::no_id || token->id == id, SS1_ERROR_FORMAT,
                  "%s: '%s' has the id %lld, but %d in %s", token->where.c_str(), printable(token->text).c_str(),
                  static_cast<long long>(token->id), id,
                  static_cast<size_t>(id) < out.vocabulary.lines() ? path.c_str() : "another list of added tokens");
        out.special.push_back({token->text, id});
    }
    return SS1_OK;
}

ss1_status find_token(const ss1_tokenizer &tokenizer, const std::string &path, const char *role,
                      const std::string &token, int32_t &id) {
    id = tokenizer.vocabulary.find(token);
    SS1_CHECK(id != vocabulary::none, SS1_ERROR_FORMAT, "%s: lacks the %s token '%s'", path.c_str(), role,
              printable(token).c_str());
    return SS1_OK;
}

ss1_status take_special(const tokenizer_rules &rules, const std::string &path, ss1_tokenizer &out) {
    SS1_TRY(take_added(rules, path, out));
    SS1_TRY(find_token(out, path, "unknown", rules.unk, out.unk));
    SS1_TRY(find_token(out, path, "separator", rules.sep, out.sep));
    SS1_TRY(find_token(out, path, "padding", rules.pad, out.pad));
    SS1_TRY(find_token(out, path, "classification", rules.cls, out.cls));
    out.mask = out.vocabulary.find(rules.mask);
    out.special.insert(out.special.end(),
                       {{rules.unk, out.unk}, {rules.sep, out.sep}, {rules.pad, out.pad}, {rules.cls, out.cls}});
    if (out.mask != vocabulary::none) out.special.push_back({rules.mask, out.mask});
    std::sort(out.special.begin(), out.special.end(), [](const auto &a, const auto &b) {
        return a.text.size() != b.text.size() ? a.text.size() > b.text.size() : a.text < b.text;
    });
    const auto same = [](const auto &a, const auto &b) { return a.text == b.text; };
    out.special.erase(std::unique(out.special.begin(), out.special.end(), same), out.special.end());
    for (const special_token &token : out.special) out.starts_special[static_cast<unsigned char>(token.text[0])] = true;
    return SS1_OK;
}

word_rules settled(const stated_rules &stated) noexcept {
    word_rules rules;
    rules.lower_case = stated.lower_case.value_or(rules.lower_case);
    rules.strip_accents = stated.strip_accents.value_or(rules.lower_case);
    rules.split_ideographs = stated.split_ideographs.value_or(rules.split_ideographs);
    return rules;
}

// @param path  Receives the file that holds the vocabulary.
ss1_status load_vocabulary(const allocator &memory, const std::string &directory, const tokenizer_json &file,
                           std::string &path, vocabulary &out) {
    std::string text;
    path = directory + "/vocab.txt";
    if (file.vocab && !file_exists(path)) {
        SS1_TRY(vocabulary_lines(file, text));
        return out.read(memory, text, (path = file.path).c_str());
    }
    SS1_TRY(file_read_text(path, vocabulary::max_bytes, text));
    SS1_CHECK(!text.starts_with("\xef\xbb\xbf"), SS1_ERROR_FORMAT,
              "%s: line 1: starts with a byte order mark, which would be part of the first token", path.c_str());
    SS1_TRY(out.read(memory, text, path.c_str()));
    return file.vocab ? check_same_vocabulary(file, out, path) : SS1_OK;
}

ss1_status check_texts(const char *name, const ss1_text *texts, size_t n) noexcept {
    SS1_TRY(check_array(texts, n, name));
    for (size_t i = 0; i < n; ++i) {
        const ss1_text text = element(texts, i);
        SS1_CHECK(text.data || text.bytes == 0, SS1_ERROR_INVALID_ARGUMENT, "%s[%zu].data is NULL but bytes=%zu", name,
                  i, text.bytes);
    }
    return SS1_OK;
}

// Fills in the defaults and checks the arguments.
ss1_status check_args(const ss1_tokenizer &tokenizer, ss1_tokenize_args &args) noexcept {
    SS1_CHECK(args.first, SS1_ERROR_INVALID_ARGUMENT, "args.first is NULL");
    SS1_CHECK(args.input_ids, SS1_ERROR_INVALID_ARGUMENT, "args.input_ids is NULL");
    if (args.max_tokens == 0) args.max_tokens = tokenizer.max_tokens;
    SS1_CHECK(args.max_tokens, SS1_ERROR_INVALID_ARGUMENT,
              "args.max_tokens=0 means the model's limit, and this tokenizer has none");
    const size_t least = args.second ? 3 : 2;
    SS1_CHECK(args.max_tokens >= least, SS1_ERROR_INVALID_ARGUMENT,
              "args.max_tokens=%zu is below %zu, the special tokens of a row", args.max_tokens, least);
    if (args.ld == 0) args.ld = args.max_tokens;
    SS1_CHECK(args.ld >= args.max_tokens, SS1_ERROR_INVALID_ARGUMENT, "args.ld=%zu is below max_tokens=%zu", args.ld,
              args.max_tokens);
    SS1_TRY(check_texts("args.first", args.first, args.n));
    if (args.second) SS1_TRY(check_texts("args.second", args.second, args.n));
    const struct {
        const char *name;
        const int64_t *data;
    } outputs[] = {{"args.input_ids", args.input_ids},
                   {"args.attention_mask", args.attention_mask},
                   {"args.token_type_ids", args.token_type_ids},
                   {"args.begins", args.begins},
                   {"args.ends", args.ends}};
    memory_span spans[std::size(outputs)]{};
    for (size_t i = 0; i < std::size(outputs); ++i) {
        if (!outputs[i].data) continue;
        SS1_TRY(
            matrix_span(outputs[i].name, outputs[i].data, args.n, args.max_tokens, args.ld, spans[i], sizeof(int64_t)));
        for (size_t k = 0; k < i; ++k)
            if (outputs[k].data) SS1_TRY(check_apart(outputs[i].name, spans[i], outputs[k].name, spans[k]));
    }
    return SS1_OK;
}

}  // namespace

ss1_status tokenizer_load(ss1_context &context, const std::string &given, ss1_tokenizer &out) {
    SS1_CHECK(unicode_supported(), SS1_ERROR_UNSUPPORTED,
              "this build has no tokenizer: it was made without ICU (build option tokenizer)");
    sentence_config sentence;
    SS1_TRY(sentence_config_read(given, sentence));
    const std::string directory = sentence.folder.empty() ? given : given + "/" + sentence.folder;
    tokenizer_rules rules;
    tokenizer_json file;
    std::string path;
    SS1_TRY(read_tokenizer_rules(directory, rules, file));
    out.context = context_ref(&context);
    SS1_TRY(load_vocabulary(context.memory, directory, file, path, out.vocabulary));
    SS1_TRY(take_special(rules, path, out));
    out.rules = settled(rules.words);
    out.max_tokens = rules.max_tokens;
    // A module of sentence-transformers only sets limits and lower case; accents stay as the tokenizer wants them.
    if (sentence.lower_case) out.rules.lower_case = true;
    if (sentence.max_tokens) out.max_tokens = std::min(out.max_tokens - 1, sentence.max_tokens - 1) + 1;  // 0: no limit
    return SS1_OK;
}

void tokenizer_describe(const ss1_tokenizer &tokenizer, ss1_tokenizer_info &info) noexcept {
    info.lower_case = tokenizer.rules.lower_case;
    info.strip_accents = tokenizer.rules.strip_accents;
    info.split_ideographs = tokenizer.rules.split_ideographs;
    info.vocab_size = tokenizer.vocabulary.size();
    info.max_tokens = tokenizer.max_tokens;
    info.unk = tokenizer.unk;
    info.sep = tokenizer.sep;
    info.pad = tokenizer.pad;
    info.cls = tokenizer.cls;
    info.mask = tokenizer.mask;
}

ss1_status tokenizer_encode(const ss1_tokenizer &tokenizer, const ss1_tokenize_args &given) {
    if (given.n == 0) return SS1_OK;
    ss1_tokenize_args args = given;
    SS1_TRY(check_args(tokenizer, args));
    const size_t tasks = std::min<size_t>(args.n, tokenizer.context->num_threads);
    parallel(*tokenizer.context, tasks, [&](size_t task) {
        for (size_t i = task; i < args.n; i += tasks) encode_row(tokenizer, args, i);
    });
    return SS1_OK;
}

}  // namespace ss1
