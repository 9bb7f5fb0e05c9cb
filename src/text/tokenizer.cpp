// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.hpp"

#include <algorithm>
#include <atomic>
#include <span>

#include "base/abi.hpp"
#include "base/span.hpp"
#include "base/status.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/sentence_config.hpp"
#include "text/pipeline_json.hpp"
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
        vocabulary::piece pieces[max_word_chars];
        const size_t n = word.empty() ? 0 : tokenizer.vocabulary.split(word, pieces);
        if (n == 0)
            add(tokenizer.unk, places ? places->word : byte_range());
        else if (places)
            add_pieces({pieces, n}, places->bytes);
        else
            for (size_t i = 0; i < n; ++i) add_id(pieces[i].id);
        full = count >= enough;
        return !full;
    }

    void add_pieces(std::span<const vocabulary::piece> pieces, const byte_range *places) noexcept {
        size_t begin = 0;
        for (const auto [id, end] : pieces) {
            add(id, {places[begin].begin, places[end - 1].end});
            begin = end;
        }
    }
};

// Cuts out added tokens first; the text between two of them is split into words on its own.
void add_text(std::string_view text, text_row &row) noexcept {
    row.tokenizer.added.cut(
        text,
        [&](size_t begin, size_t end) {
            row.part_begin = begin;
            split_words(
                row.tokenizer.rules, text.substr(begin, end - begin), row.tokens.with_places(),
                [](void *user, std::string_view word, const word_places *places) {
                    return static_cast<text_row *>(user)->add_word(word, places);
                },
                &row);
            return !row.full;
        },
        [&](const special_token &token, size_t begin, size_t end) {
            const post_processor &processor = row.tokenizer.processor;
            byte_range place = {begin, end};
            if (processor.trims_places && row.tokens.with_places())
                place = processor.trimmed(text, count_blanks(text.substr(begin, end - begin)), row.count == 0, place);
            row.part_begin = 0;
            row.add(token.id, place);
            return true;
        });
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

void put_specials(const std::vector<row_template::special> &specials, token_row row, size_t &n) noexcept {
    for (const row_template::special &token : specials) row.set(n++, token.id);
}

// Drops tokens at the beginning that tokenizers does not make: it goes from the last word to the first, until there are
// `enough` tokens.
void drop_beginning(std::vector<text_token> &tokens, size_t enough) {
    for (size_t first = tokens.size(); first-- > 0;) {
        if (!tokens[first].starts_word || tokens.size() - first < enough) continue;
        tokens.erase(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(first));
        return;
    }
}

// What a task needs for the rows of a tokenizer with steps.
struct row_scratch {
    text_scratch text;
    std::vector<text_token> first, second;

    void run(const ss1_tokenizer &tokenizer, const ss1_text &source, bool with_places, size_t enough,
             std::vector<text_token> &out) {
        out.clear();
        tokenizer.steps->run(view(source), with_places, tokenizer.cuts_beginning ? SIZE_MAX : enough, text, out);
        if (tokenizer.cuts_beginning) drop_beginning(out, enough);
    }
};

// Writes the `kept` tokens that truncation leaves.
void put_tokens(const ss1_tokenizer &tokenizer, const ss1_text &text, std::span<const text_token> tokens, size_t kept,
                token_row out) noexcept {
    tokens = tokenizer.cuts_beginning ? tokens.last(kept) : tokens.first(kept);
    const bool trims = out.with_places() && tokenizer.processor.trims_places;
    for (size_t i = 0; i < kept; ++i) {
        const auto &[id, starts_word, place, blanks] = tokens[i];
        out.set(i, id, trims ? tokenizer.processor.trimmed(view(text), blanks, i == 0, place) : place);
    }
}

// Writes a text, at most `room` tokens of it. @return their number.
size_t put_text(const ss1_tokenizer &tokenizer, const ss1_text &text, size_t room, row_scratch &scratch,
                token_row out) {
    if (!tokenizer.steps) {
        text_row row{tokenizer, out, room, room};
        add_text(view(text), row);
        return std::min(row.count, room);
    }
    scratch.run(tokenizer, text, out.with_places(), room, scratch.first);
    const size_t kept = std::min(scratch.first.size(), room);
    put_tokens(tokenizer, text, scratch.first, kept, out);
    return kept;
}

// Writes a pair with `between` tokens between its texts, at most `room` tokens of both.
pair_lengths put_pair(const ss1_tokenizer &tokenizer, const ss1_text &first, const ss1_text &second, size_t max_tokens,
                      size_t room, size_t between, row_scratch &scratch, token_row out) {
    if (tokenizer.steps) {
        scratch.run(tokenizer, first, out.with_places(), max_tokens, scratch.first);
        scratch.run(tokenizer, second, out.with_places(), max_tokens, scratch.second);
        const pair_lengths n = truncate(scratch.first.size(), scratch.second.size(), room);
        put_tokens(tokenizer, first, scratch.first, n.first, out);
        put_tokens(tokenizer, second, scratch.second, n.second, out.from(n.first + between));
        return n;
    }
    text_row a{tokenizer, out, room, max_tokens};
    add_text(view(first), a);
    const size_t kept = std::min(a.count, room);
    text_row b{tokenizer, out.from(kept + between), room - kept, max_tokens};
    add_text(view(second), b);
    const pair_lengths n = truncate(a.count, b.count, room);
    if (n.first < kept) {  // the second text gets some room of the first
        text_row again{tokenizer, out.from(n.first + between), n.second, n.second};
        add_text(view(second), again);
    }
    return n;
}

// Where the texts lie in a row of n tokens.
struct row_size {
    size_t n, first_begin, first_end, second_begin, second_end;
};

row_size put_row(const ss1_tokenizer &tokenizer, const ss1_text &first, const ss1_text *second, size_t max_tokens,
                 row_scratch &scratch, token_row out) {
    const row_template &around = second ? tokenizer.processor.pair : tokenizer.processor.single;
    const size_t room = max_tokens - around.specials();
    row_size size{};
    put_specials(around.before, out, size.n);
    size.first_begin = size.n;
    pair_lengths n{};
    if (second)
        n = put_pair(tokenizer, first, *second, max_tokens, room, around.between.size(), scratch, out.from(size.n));
    else
        n.first = put_text(tokenizer, first, room, scratch, out.from(size.n));
    size.first_end = size.n += n.first;
    put_specials(around.between, out, size.n);
    size.second_begin = size.n;
    size.second_end = size.n += n.second;
    put_specials(around.after, out, size.n);
    return size;
}

void put_types(const row_template &around, const row_size &size, int64_t *types) noexcept {
    const auto specials = [&](const std::vector<row_template::special> &tokens, size_t begin) {
        for (const row_template::special &token : tokens) types[begin++] = token.type;
    };
    specials(around.before, 0);
    std::fill(types + size.first_begin, types + size.first_end, around.first_type);
    specials(around.between, size.first_end);
    std::fill(types + size.second_begin, types + size.second_end, around.second_type);
    specials(around.after, size.second_end);
}

void encode_row(const ss1_tokenizer &tokenizer, const ss1_tokenize_args &args, size_t i, row_scratch &scratch) {
    const size_t T = args.max_tokens;
    const token_row row = token_row{args.input_ids, args.begins, args.ends}.from(i * args.ld);
    const ss1_text second = args.second ? element(args.second, i) : ss1_text{};
    const row_size size = put_row(tokenizer, element(args.first, i), args.second ? &second : nullptr, T, scratch, row);
    const int64_t pad = std::max(tokenizer.pad, 0);
    for (size_t t = size.n; t < T; ++t) row.set(t, pad);
    if (args.lengths) args.lengths[i] = size.n;
    if (int64_t *const mask = args.attention_mask) {
        std::fill_n(mask + i * args.ld, size.n, 1);
        std::fill_n(mask + i * args.ld + size.n, T - size.n, 0);
    }
    if (int64_t *const types = args.token_type_ids) {
        put_types(args.second ? tokenizer.processor.pair : tokenizer.processor.single, size, types + i * args.ld);
        std::fill_n(types + i * args.ld + size.n, T - size.n, 0);
    }
}

// Hugging Face numbers new tokens without gaps from the size of the vocabulary on, whatever ids the files give.
ss1_status check_new(const added_token &token, const tokenizer_rules &rules, const std::string &path,
                     const vocabulary &all) {
    const std::string text = printable(token.text);
    SS1_CHECK(all.own_end() == all.own_tokens(), SS1_ERROR_UNSUPPORTED,
              "%s: '%s' is new, and %s has only %zu different tokens for %zu ids: Hugging Face's id for it is taken",
              token.where.c_str(), text.c_str(), path.c_str(), all.own_tokens(), all.own_end());
    if (token.id != added_token::no_id) {
        SS1_CHECK(token.id == static_cast<int64_t>(all.size()), SS1_ERROR_FORMAT,
                  "%s: '%s' has the id %lld, must be %zu: added tokens follow those of %s without gaps",
                  token.where.c_str(), text.c_str(), static_cast<long long>(token.id), all.size(), path.c_str());
        return SS1_OK;
    }
    SS1_CHECK(all.find(rules.mask.text) != vocabulary::none || rules.follows_file, SS1_ERROR_UNSUPPORTED,
              "%s: '%s' has no id, nor has the mask token '%s', which Hugging Face also adds", token.where.c_str(),
              text.c_str(), printable(rules.mask.text).c_str());
    return SS1_OK;
}

// Adds tokens with ids first, in the order of their ids.
ss1_status take_added(const tokenizer_rules &rules, const std::string &path, ss1_tokenizer &out,
                      std::vector<special_token> &special) {
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
                  static_cast<size_t>(id) < out.vocabulary.own_end() ? path.c_str() : "another list of added tokens");
        special.push_back({token->text, id, token->flags});
    }
    return SS1_OK;
}

// Finds a token with a role. BERT's classes need each but the mask token and cut all out of texts; otherwise only the
// stated ones are special, and the unknown token is the model's.
ss1_status take_role(const tokenizer_rules &rules, const std::string &path, const token_role &role, const char *name,
                     bool needed, int32_t &id, ss1_tokenizer &tokenizer, std::vector<special_token> &special) {
    id = tokenizer.vocabulary.find(role.text);
    SS1_CHECK(id != vocabulary::none || !(rules.follows_file ? role.stated : needed), SS1_ERROR_FORMAT,
              "%s: lacks the %s token '%s'", path.c_str(), name, printable(role.text).c_str());
    if (id != vocabulary::none && (role.stated || !rules.follows_file)) special.push_back({role.text, id, role.flags});
    return SS1_OK;
}

ss1_status take_special(const tokenizer_rules &rules, const std::string &path, ss1_tokenizer &out,
                        std::vector<special_token> &special) {
    SS1_TRY(take_added(rules, path, out, special));
    const struct {
        const token_role &role;
        const char *name, *other_text;
        bool needed;
        int32_t &id;
    } roles[] = {{rules.unk, "unknown", "<unk>", true, out.unk},
                 {rules.sep, "separator", "</s>", true, out.sep},
                 {rules.pad, "padding", "<pad>", true, out.pad},
                 {rules.cls, "classification", "<s>", true, out.cls},
                 {rules.mask, "mask", "<mask>", false, out.mask}};
    for (const auto &[role, name, other_text, needed, id] : roles) {
        SS1_TRY(take_role(rules, path, role, name, needed, id, out, special));
        if (id == vocabulary::none && rules.follows_file) id = out.vocabulary.find(other_text);
    }
    return SS1_OK;
}

word_rules settled(const stated_rules &stated) noexcept {
    word_rules rules;
    rules.lower_case = stated.lower_case.value_or(rules.lower_case);
    rules.strip_accents = stated.strip_accents.value_or(rules.lower_case);
    rules.split_ideographs = stated.split_ideographs.value_or(rules.split_ideographs);
    return rules;
}

// Reads the vocabulary, and the steps of a tokenizer whose rules are not those of words.hpp.
// @param path  Receives the file that holds the vocabulary.
ss1_status load_vocabulary(const allocator &memory, const std::string &directory, const tokenizer_json &file,
                           const tokenizer_rules &rules, std::string &path, ss1_tokenizer &out) {
    path = file.path;
    if (file.form == tokenizer_form::pipeline) {
        out.steps = std::make_unique<pipeline>();
        return read_pipeline(file, memory, out.vocabulary, *out.steps);
    }
    if (file.form == tokenizer_form::merges) {
        out.steps = std::make_unique<pipeline>();
        return read_merges_file(directory, file, rules.add_prefix_space, memory, out.vocabulary, *out.steps);
    }
    path = directory + "/vocab.txt";
    if (file.vocab && !file_exists(path)) {
        std::vector<vocabulary_entry> entries;
        SS1_TRY(read_vocab(file, entries));
        return out.vocabulary.take(memory, entries, (path = file.path).c_str());
    }
    std::string text;
    SS1_TRY(file_read_text(path, vocabulary::max_bytes, text));
    SS1_CHECK(!text.starts_with("\xef\xbb\xbf"), SS1_ERROR_FORMAT,
              "%s: line 1: starts with a byte order mark, which would be part of the first token", path.c_str());
    SS1_TRY(out.vocabulary.read(memory, text, path.c_str()));
    return file.vocab ? check_same_vocabulary(file, out.vocabulary, path) : SS1_OK;
}

// Tokens that are looked for in the normalised text, truncation at the beginning, and places without U+0120, which is
// in no word in lower case, need the steps of words.hpp.
ss1_status take_added_tokens(std::vector<special_token> special, ss1_tokenizer &out) {
    const auto literal_end = std::stable_partition(special.begin(), special.end(),
                                                   [](const auto &token) { return !token.flags.normalized; });
    const allocator &memory = out.context->memory;
    const bool trims_words = out.processor.trims_places && !out.rules.lower_case;
    if (!out.steps && literal_end == special.end() && !out.cuts_beginning && !trims_words)
        return out.added.take(memory, std::move(special));
    if (!out.steps) out.steps = std::make_unique<pipeline>(bert_pipeline(out.rules, out.vocabulary, out.unk));
    out.steps->counts_blanks = out.processor.trims_places;
    std::vector<special_token> normalized(literal_end, special.end());
    special.erase(literal_end, special.end());
    text_scratch scratch;
    for (special_token &token : normalized) {
        scratch.text.take(token.text, {0, token.text.size()}, false);
        out.steps->normalizing.run(scratch.text, scratch.spare);
        SS1_CHECK(!scratch.text.text.empty(), SS1_ERROR_UNSUPPORTED,
                  "added token '%s': the normalizer leaves nothing of it", printable(token.text).c_str());
        token.text = scratch.text.text;
    }
    SS1_TRY(out.steps->literal.take(memory, std::move(special)));
    return out.steps->normalized.take(memory, std::move(normalized));
}

// Checks that the special tokens of a row are in the vocabulary.
ss1_status check_template(const row_template &around, const std::string &path, const vocabulary &all) {
    for (const auto *list : {&around.before, &around.between, &around.after}) {
        for (const row_template::special &token : *list)
            SS1_CHECK(static_cast<size_t>(token.id) < all.size() && all.token(static_cast<size_t>(token.id)),
                      SS1_ERROR_FORMAT, "%s: post_processor: adds the id %d, which is no token's", path.c_str(),
                      token.id);
    }
    return SS1_OK;
}

ss1_status take_processor(const tokenizer_rules &rules, const std::string &path, ss1_tokenizer &out) {
    out.processor = rules.roberta     ? classic_post_processor(out.cls, out.sep, 0, true)
                    : rules.processor ? *rules.processor
                                      : classic_post_processor(out.cls, out.sep, 1, false);
    if (rules.roberta) out.processor.trims_places = true, out.processor.keeps_first_space = rules.add_prefix_space;
    const row_template &single = out.processor.single;
    SS1_CHECK((!rules.adds_bos || !single.before.empty()) && (!rules.adds_eos || !single.after.empty()),
              SS1_ERROR_UNSUPPORTED,
              "%s: tokenizer_config.json has add_%s_token, but the post_processor adds no such token, which is not "
              "supported",
              path.c_str(), rules.adds_bos && single.before.empty() ? "bos" : "eos");
    SS1_TRY(check_template(out.processor.single, path, out.vocabulary));
    return check_template(out.processor.pair, path, out.vocabulary);
}

ss1_status check_texts(const char *name, const ss1_text *texts, size_t n) noexcept {
    SS1_TRY(check_array(texts, n, name));
    for (size_t i = 0; i < n; ++i) SS1_TRY(check_text(name, element(texts, i), i));
    return SS1_OK;
}

// Fills in the defaults and checks the arguments.
ss1_status check_args(const ss1_tokenizer &tokenizer, ss1_tokenize_args &args) noexcept {
    SS1_CHECK(args.first, SS1_ERROR_INVALID_ARGUMENT, "args.first is NULL");
    SS1_CHECK(args.input_ids, SS1_ERROR_INVALID_ARGUMENT, "args.input_ids is NULL");
    if (args.max_tokens == 0) args.max_tokens = tokenizer.max_tokens;
    SS1_CHECK(args.max_tokens, SS1_ERROR_INVALID_ARGUMENT,
              "args.max_tokens=0 means the model's limit, and this tokenizer has none");
    const size_t least = (args.second ? tokenizer.processor.pair : tokenizer.processor.single).specials();
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

// sentence-transformers reads nothing but tokenizer.json for static embeddings, and adds no special tokens.
void become_bare(const tokenizer_rules &rules, ss1_tokenizer &out) noexcept {
    out.processor.single = out.processor.pair = {};
    out.max_tokens = rules.file_max_tokens;
    out.cuts_beginning = rules.file_cuts_beginning;
}

}  // namespace

ss1_status check_text(const char *name, const ss1_text &text, size_t i) noexcept {
    SS1_CHECK(text.data || text.bytes == 0, SS1_ERROR_INVALID_ARGUMENT, "%s[%zu].data is NULL but bytes=%zu", name, i,
              text.bytes);
    return SS1_OK;
}

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
    out.rules = settled(rules.words);
    out.cuts_beginning = rules.cuts_beginning.value_or(false);
    // A module of sentence-transformers replaces model_max_length and sets lower case; accents stay as the tokenizer
    // wants them.
    if (sentence.lower_case) out.rules.lower_case = true;
    out.max_tokens = sentence.max_tokens ? sentence.max_tokens : rules.max_tokens;
    if (rules.max_positions && (out.max_tokens == 0 || rules.max_positions < out.max_tokens))
        out.max_tokens = rules.max_positions;
    std::vector<special_token> special;
    SS1_TRY(load_vocabulary(context.memory, directory, file, rules, path, out));
    SS1_TRY(take_special(rules, path, out, special));
    if (file.form == tokenizer_form::pipeline) {
        if (out.steps->unknown != vocabulary::none) out.unk = out.steps->unknown;
    } else if (file.form == tokenizer_form::words && rules.follows_file) {
        out.unk = out.vocabulary.find(rules.model_unknown);
        SS1_CHECK(out.unk != vocabulary::none, SS1_ERROR_FORMAT, "%s: model: vocab lacks the unk_token '%s'",
                  path.c_str(), printable(rules.model_unknown).c_str());
    }
    SS1_TRY(take_processor(rules, path, out));
    if (sentence.lower_case && out.steps) lower_first(out.steps->normalizing);
    if (sentence.is_static || rules.model_type == "model2vec") become_bare(rules, out);
    return take_added_tokens(std::move(special), out);
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
    std::atomic<bool> failed = false;
    parallel(*tokenizer.context, tasks, [&](size_t task) {
        try {
            row_scratch scratch;
            for (size_t i = task; i < args.n; i += tasks) encode_row(tokenizer, args, i, scratch);
        } catch (const std::bad_alloc &) {
            failed = true;
        }
    });
    SS1_CHECK(!failed, SS1_ERROR_OUT_OF_MEMORY, "no memory for the steps of the tokenizer; rows may have been written");
    return SS1_OK;
}

}  // namespace ss1
