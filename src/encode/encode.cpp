// SPDX-License-Identifier: Apache-2.0
#include "encode/encode.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/abi.hpp"
#include "base/span.hpp"
#include "base/status.hpp"
#include "io/families.hpp"
#include "io/json.hpp"

namespace ss1 {
namespace {

constexpr size_t default_batch_tokens = 4096;        // a BERT-base then takes about 100 MB
constexpr size_t model2vec_tokens = 512;             // that its encode() reads of a text
constexpr size_t ids_at_once = size_t{1} << 22;      // tokenised and sorted together: 32 MB of ids, as much of types
constexpr size_t numbers_at_once = size_t{1} << 22;  // of the output: SPLADE has one for each word

// What becomes of each text, with all defaults replaced.
struct encoding {
    ss1_model &model;
    const ss1_tokenizer &tokenizer;
    ss1_encode_args args;
    const char *output = nullptr;                 // of the session
    size_t width = 0;                             // of the output
    bool normalizes = false;                      // a cut row is scaled to the length 1 again
    const activation_kernel *activate = nullptr;  // of the scores; NULL: the identity
    std::string prompt = {};
    size_t prompt_tokens = 0;  // that the pooling leaves out
    // As model2vec does; sentence-transformers' StaticEmbedding keeps unknown tokens.
    bool drops_unknown = false;
    size_t known_tokens = 0;  // the most that are left then
};

std::string names_of(std::span<const sentence_prompt> prompts) {
    std::string names;
    for (const sentence_prompt &prompt : prompts) names += (names.empty() ? "'" : ", '") + prompt.name + "'";
    return names.empty() ? "none" : names;
}

// Finds the text of a prompt: of its name; of a like one for queries and documents; of the default.
ss1_status find_prompt(const encoding &e, std::string &out) {
    const sentence_config &config = e.model.sentence;
    const auto take = [&](std::string_view wanted) {
        const auto found = std::ranges::find(config.prompts, wanted, &sentence_prompt::name);
        if (found != config.prompts.end()) out = found->text;
        return found != config.prompts.end();
    };
    const std::string &usual = config.default_prompt;
    const std::string_view wanted = e.args.prompt ? e.args.prompt : std::string_view(usual);
    if (wanted.empty() || take(wanted)) return SS1_OK;
    SS1_CHECK(wanted == "query" || wanted == "document", SS1_ERROR_INVALID_ARGUMENT,
              "args.prompt '%s' is not a prompt of the model, which has %s", printable(wanted).c_str(),
              names_of(config.prompts).c_str());
    if (wanted == "document" && (take("passage") || take("corpus"))) return SS1_OK;
    if (!usual.empty()) take(usual);
    return SS1_OK;
}

ss1_status find_output(encoding &e) {
    e.output = e.args.output ? e.args.output : "sentence_embedding";
    const auto &outputs = e.model.outputs;
    const auto found = std::ranges::find_if(
        outputs, [&](const tensor_slot &slot) { return !std::strcmp(slot.tensor.name, e.output); });
    SS1_CHECK(found != outputs.end(), SS1_ERROR_INVALID_ARGUMENT, "args.output: the model has no output '%s'%s",
              printable(e.output).c_str(),
              e.args.output ? "" : ", because its directory has no modules.json with a pooling");
    SS1_CHECK(found->tensor.rank == 2 && found->tensor.shape[1] > 0, SS1_ERROR_INVALID_ARGUMENT,
              "args.output: '%s' is not one vector of fixed size for each text", printable(e.output).c_str());
    e.width = static_cast<size_t>(found->tensor.shape[1]);
    e.normalizes = !std::strcmp(e.output, "sentence_embedding") && e.model.sentence.normalizes();
    if (!e.args.scores) return SS1_OK;
    SS1_CHECK(!std::strcmp(e.output, "logits"), SS1_ERROR_INVALID_ARGUMENT,
              "args.scores is not NULL, but args.output is '%s' instead of 'logits'", printable(e.output).c_str());
    ss1_activation what = SS1_ACTIVATION_NONE;
    SS1_TRY(module_activation(e.model.score_activation, "args.scores: the model's activation", what));
    e.activate = select_activation(static_cast<activation>(what), e.model.context->usable);
    return SS1_OK;
}

// Whether a token has a part to play, or stands behind each text.
bool is_special(const ss1_tokenizer &tokenizer, int64_t id) noexcept {
    const auto &after = tokenizer.processor.single.after;
    return std::ranges::count(std::array{tokenizer.unk, tokenizer.sep, tokenizer.pad, tokenizer.cls, tokenizer.mask},
                              id) ||
           std::ranges::count(after, id, &row_template::special::id);
}

// Tokens of the prompt alone, with the one at its beginning. A special token at the end comes behind the text instead.
ss1_status count_prompt_tokens(encoding &e) {
    if (e.model.sentence.include_prompt || e.prompt.empty()) return SS1_OK;
    const ss1_text text = {sizeof(ss1_text), e.prompt.data(), e.prompt.size()};
    std::vector<int64_t> ids(e.args.max_tokens);
    size_t length = 0;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1;
    args.first = &text;
    args.max_tokens = e.args.max_tokens;
    args.input_ids = ids.data();
    args.lengths = &length;
    SS1_TRY(tokenizer_encode(e.tokenizer, args));
    e.prompt_tokens = length - (length && is_special(e.tokenizer, ids[length - 1]));
    return SS1_OK;
}

// Checks the arguments and replaces all defaults.
ss1_status settle(encoding &e) {
    ss1_encode_args &args = e.args;
    SS1_CHECK(args.first, SS1_ERROR_INVALID_ARGUMENT, "args.first is NULL");
    SS1_CHECK(args.y, SS1_ERROR_INVALID_ARGUMENT, "args.y is NULL");
    const ss1_model_info &info = e.model.info;
    SS1_CHECK(info.max_tokens, SS1_ERROR_INVALID_ARGUMENT, "a model of family '%s' takes no texts", info.family);
    ss1_tokenizer_info rules = SS1_TOKENIZER_INFO_INIT;
    tokenizer_describe(e.tokenizer, rules);
    SS1_CHECK(rules.vocab_size <= info.vocab_size, SS1_ERROR_INVALID_ARGUMENT,
              "the tokenizer has %zu tokens, the model %zu: it is another model's", rules.vocab_size, info.vocab_size);
    SS1_TRY(find_output(e));
    const bool bare = e.model.family->files->takes_bare_texts;
    SS1_CHECK(!bare || !e.tokenizer.processor.single.specials(), SS1_ERROR_INVALID_ARGUMENT,
              "the tokenizer puts special tokens around a text, which static embeddings lack: it is another model's");
    e.drops_unknown = bare && !e.model.sentence.is_static;
    const size_t limit = rules.max_tokens ? std::min(rules.max_tokens, info.max_tokens) : info.max_tokens;
    e.known_tokens = args.max_tokens ? args.max_tokens : model2vec_tokens;
    if (args.max_tokens == 0) args.max_tokens = limit;
    SS1_CHECK(args.max_tokens <= limit, SS1_ERROR_INVALID_ARGUMENT, "args.max_tokens=%zu is above the model's %zu",
              args.max_tokens, limit);
    if (e.drops_unknown) args.max_tokens = limit;  // the cut comes behind the removal
    if (args.batch_tokens == 0) args.batch_tokens = default_batch_tokens;
    SS1_CHECK(args.dimensions == 0 || e.model.sentence.words == word_pooling::none, SS1_ERROR_INVALID_ARGUMENT,
              "args.dimensions=%zu: the numbers of a SPLADE model belong to words, its first ones are no vector",
              args.dimensions);
    if (args.dimensions == 0) args.dimensions = e.width;
    SS1_CHECK(args.dimensions <= e.width, SS1_ERROR_INVALID_ARGUMENT, "args.dimensions=%zu is above the %zu of '%s'",
              args.dimensions, e.width, e.output);
    if (args.ldy == 0) args.ldy = args.dimensions;
    SS1_CHECK(args.ldy >= args.dimensions, SS1_ERROR_INVALID_ARGUMENT, "args.ldy=%zu is below the %zu of a row",
              args.ldy, args.dimensions);
    memory_span y{};
    SS1_TRY(matrix_span("args.y", args.y, args.n, args.dimensions, args.ldy, y, sizeof(float)));
    if (args.scores) {
        memory_span scores{};
        SS1_TRY(matrix_span("args.scores", args.scores, args.n, args.dimensions, args.ldy, scores, sizeof(float)));
        SS1_TRY(check_apart("args.y", y, "args.scores", scores));
    }
    SS1_TRY(check_array(args.first, args.n, "args.first"));
    if (args.second) SS1_TRY(check_array(args.second, args.n, "args.second"));
    SS1_TRY(find_prompt(e, e.prompt));
    return count_prompt_tokens(e);
}

// The tokens of some texts, [n, ld].
struct tokens {
    std::vector<int64_t> ids, types;
    std::vector<size_t> lengths;
    size_t ld = 0;
};

// A bound of the tokens of text i. No normaliser makes more than 8 tokens of a byte.
size_t most_tokens(const encoding &e, size_t i) noexcept {
    const size_t bytes =
        e.prompt.size() + element(e.args.first, i).bytes + (e.args.second ? element(e.args.second, i).bytes : 0);
    return std::min(e.args.max_tokens, 8 * std::min(bytes, e.args.max_tokens) + 8);
}

// Tokenises n texts from `begin` on, of at most T tokens.
ss1_status tokenize(const encoding &e, size_t begin, size_t n, size_t T, tokens &out) {
    std::vector<std::string> prompted;
    std::vector<ss1_text> first, second;
    for (size_t i = begin; i < begin + n; ++i) {
        const ss1_text text = element(e.args.first, i);
        SS1_TRY(check_text("args.first", text, i));
        if (!e.prompt.empty()) prompted.push_back(e.prompt + std::string(text.data ? text.data : "", text.bytes));
        first.push_back(text);
        if (!e.args.second) continue;
        second.push_back(element(e.args.second, i));
        SS1_TRY(check_text("args.second", second.back(), i));
    }
    for (size_t i = 0; i < prompted.size(); ++i) first[i] = {sizeof(ss1_text), prompted[i].data(), prompted[i].size()};
    out.ld = T;
    out.ids.resize(n * T);
    out.types.resize(n * T);
    out.lengths.resize(n);
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = n;
    args.first = first.data();
    if (e.args.second) args.second = second.data();
    args.max_tokens = T;
    args.input_ids = out.ids.data();
    args.token_type_ids = out.types.data();
    args.lengths = out.lengths.data();
    SS1_TRY(tokenizer_encode(e.tokenizer, args));
    for (size_t i = 0; e.drops_unknown && i < n; ++i) {
        int64_t *ids = out.ids.data() + i * T;
        const auto known = static_cast<size_t>(std::remove(ids, ids + out.lengths[i], e.tokenizer.unk) - ids);
        out.lengths[i] = std::min(known, e.known_tokens);
    }
    return SS1_OK;
}

struct session_owner {
    ss1_session *session = nullptr;

    session_owner() = default;
    session_owner(const session_owner &) = delete;
    session_owner &operator=(const session_owner &) = delete;
    ~session_owner() { session_destroy(session); }

    // Makes room for B sequences of T tokens.
    ss1_status fit(ss1_model &model, size_t B, size_t T) {
        if (session && B <= session->bounds.max_batch && T <= session->bounds.max_tokens) return SS1_OK;
        session_destroy(std::exchange(session, nullptr));
        ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
        options.max_batch = std::bit_ceil(B);  // shorter texts come in larger groups: few of them need a new session
        options.max_tokens = T;
        return session_create(model, options, &session);
    }
};

// Writes row i from the session's output.
void write_row(const encoding &e, const float *from, size_t i) noexcept {
    const size_t d = e.args.dimensions;
    float *y = e.args.y + i * e.args.ldy;
    std::copy_n(from, d, y);
    if (d < e.width && e.normalizes) scale_to_length_one(y, 1, d);
    if (!e.args.scores) return;
    float *const scores = e.args.scores + i * e.args.ldy;
    std::copy_n(y, d, scores);
    if (e.activate) e.activate->run({.y = scores, .m = 1, .n = d, .ldy = d});
}

ss1_tensor make_tensor(const char *name, ss1_dtype dtype, std::initializer_list<size_t> shape, void *data) {
    ss1_tensor tensor = make_slot(name, dtype, shape, true).tensor;
    tensor.data = data;
    tensor.bytes = dtype == SS1_DTYPE_I64 ? sizeof(int64_t) : sizeof(float);
    for (const size_t size : shape) tensor.bytes *= size;
    return tensor;
}

// One run: the texts `group` of `from`, the longest first. Writes their rows of y; text 0 of `from` is text `begin`.
ss1_status run_group(const encoding &e, const tokens &from, std::span<const size_t> group, size_t begin,
                     session_owner &owner) {
    const size_t B = group.size(), T = std::max<size_t>(from.lengths[group[0]], 1);
    std::vector<int64_t> ids(B * T), mask(B * T), types(B * T), prompts(B, static_cast<int64_t>(e.prompt_tokens));
    for (size_t b = 0; b < B; ++b) {
        const size_t length = from.lengths[group[b]], at = group[b] * from.ld;
        std::copy_n(from.ids.begin() + at, length, ids.begin() + b * T);
        std::copy_n(from.types.begin() + at, length, types.begin() + b * T);
        std::fill_n(mask.begin() + b * T, length, 1);
        prompts[b] = std::min(prompts[b], static_cast<int64_t>(length));
    }
    std::vector<ss1_tensor> inputs = {make_tensor("input_ids", SS1_DTYPE_I64, {B, T}, ids.data()),
                                      make_tensor("attention_mask", SS1_DTYPE_I64, {B, T}, mask.data())};
    if (e.model.info.type_vocab_size > 1)
        inputs.push_back(make_tensor("token_type_ids", SS1_DTYPE_I64, {B, T}, types.data()));
    if (e.prompt_tokens) inputs.push_back(make_tensor("prompt_tokens", SS1_DTYPE_I64, {B}, prompts.data()));
    std::vector<float> rows(B * e.width);
    ss1_tensor output = make_tensor(e.output, SS1_DTYPE_F32, {B, e.width}, rows.data());
    SS1_TRY(owner.fit(e.model, B, T));
    SS1_TRY(session_run(*owner.session, inputs.data(), inputs.size(), &output, 1));
    for (size_t b = 0; b < B; ++b) write_row(e, rows.data() + b * e.width, begin + group[b]);
    return SS1_OK;
}

}  // namespace

ss1_status model_encode(ss1_model &model, const ss1_tokenizer &tokenizer, ss1_encode_args args) {
    if (args.n == 0) return SS1_OK;
    encoding e = {.model = model, .tokenizer = tokenizer, .args = args};
    SS1_TRY(settle(e));
    tokens all;
    session_owner owner;
    for (size_t begin = 0, n; begin < args.n; begin += n) {
        size_t T = 0;
        for (n = 0; begin + n < args.n; ++n) {
            const size_t longest = std::max(T, most_tokens(e, begin + n));
            if (n > 0 && (n + 1) * longest > ids_at_once) break;
            T = longest;
        }
        SS1_TRY(tokenize(e, begin, n, T, all));
        std::vector<size_t> order(n);
        std::iota(order.begin(), order.end(), size_t{0});
        std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return all.lengths[i]; });
        for (size_t i = 0, B; i < n; i += B) {
            B = std::min({n - i, std::max<size_t>(e.args.batch_tokens / std::max<size_t>(all.lengths[order[i]], 1), 1),
                          std::max<size_t>(numbers_at_once / e.width, 1)});
            SS1_TRY(run_group(e, all, std::span(order).subspan(i, B), begin, owner));
        }
    }
    return SS1_OK;
}

}  // namespace ss1
