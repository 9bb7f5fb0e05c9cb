// SPDX-License-Identifier: Apache-2.0
// BERT and its relatives with absolute positions and norms behind the layers. What the graph is says
// src/model/bert.cpp; config.json is read by the core's own code. The state between encoder layers is f32. Where all
// layers of a half of an encoder layer have weights below f32, what lies between them is bf16. Norms and activations
// before a tied layer make its sketch themselves, where it has one.
#include <algorithm>
#include <cstring>

#include "attention.hpp"
#include "base/check_values.hpp"
#include "io/bert_config.hpp"
#include "layer.hpp"
#include "model.hpp"
#include "packed_rows.hpp"
#include "rows.hpp"

namespace ss1::cuda {
namespace {

constexpr size_t layers_of_segment = 4;  // encoder layers between two questions whether the run is given up

struct norm_weights {
    device_memory gamma, beta;
};

struct encoder {
    std::vector<block_layer> qkv;  // one, or one each
    block_layer attention_output, intermediate, output;
    sketch_form qkv_sketch, intermediate_sketch;  // made by the norms before them
    // Of `intermediate`, where it does not apply it itself; and whether `output` does.
    ss1_activation apart = SS1_ACTIVATION_NONE;
    bool output_applies = false;
    norm_weights attention_norm, output_norm;
    dtype attended, between;  // of the values inside each half
};

enum class result { hidden, pooled, logits, starts, ends };

struct bert {
    bert_config config;
    std::vector<result> outputs;  // of the spec
    device_memory word, position, type;
    norm_weights embedding_norm, head_norm;
    std::vector<encoder> encoders;  // that are stored
    block_layer projection, pooler, head_dense, head_out;
    bool half = false;  // an encoder layer reads bf16

    bool has_head() const {
        return std::any_of(outputs.begin(), outputs.end(), [](result r) { return r >= result::logits; });
    }
    bool of_sequences() const { return config.head == bert_head::sequence_classification; }
    size_t width_of(result r) const {  // values of a token, or of a sequence
        if (r == result::hidden || r == result::pooled) return config.hidden_size;
        return r == result::logits ? head_out.outputs() : 1;
    }
    bool is_of_tokens(result r) const { return r == result::hidden || (r >= result::logits && !of_sequences()); }
};

// All arrays are device memory, but for `staged`.
struct bert_activations {
    packed_rows staged, input;  // pinned memory, and its copy
    size_t input_bytes;         // of all but the mask, which follows
    char *staged_from, *input_from;
    float *embedded, *state;       // [rows, E], [rows, H]
    char *state_half;              // [rows, H] bf16, or a sketch of it
    char *wide;                    // [rows, 4 H] queries to values and what they attend; then [rows, I]
    char *branch;                  // [rows, H]
    float *first, *pooled;         // [B, H]
    float *head;                   // [rows or B, H or E]
    float *logits;                 // [rows, outputs of the head]
    std::vector<float *> results;  // of each output, as the caller wants it
    char *scratch;                 // of a layer
};

// ---- create

// The members of the family whose graph this is: absolute positions, norms behind the layers, no gates.
constexpr bert_variant known_variants[] = {bert_variant::bert, bert_variant::distilbert, bert_variant::roberta,
                                           bert_variant::electra, bert_variant::albert};

// What of this model only the core knows; "": nothing.
std::string unknown_part(const ss1_model_spec &spec, const bert_config &config) {
    if (std::find(std::begin(known_variants), std::end(known_variants), config.variant) == std::end(known_variants))
        return "attention or norms of this member of BERT's family";
    if (config.hidden_size / config.num_attention_heads > max_head_size) return "heads of more than 128 values";
    return spec.n_inputs == (config.type_vocab_size ? 3 : 2) ? "" : "prompts";
}

ss1_status read_config(const ss1_model_spec &spec, bert_config &out) {
    json_document document;
    SS1_CHECK_OK(pass_on(json_parse(spec.config, "config.json", {}, document)));
    const json *type = document.root().find("model_type");
    return pass_on(bert_config_parse(document.root(), std::string(type ? type->string() : ""), "config.json", out));
}

ss1_status find_outputs(const ss1_model_spec &spec, bert &out) {
    struct row {
        const char *name;
        result what;
    };
    static constexpr row known[] = {
        {"last_hidden_state", result::hidden}, {"pooled", result::pooled},       {"logits", result::logits},
        {"replaced_logits", result::logits},   {"start_logits", result::starts}, {"end_logits", result::ends}};
    for (size_t i = 0; i < spec.n_outputs; ++i) {
        const auto at = std::find_if(std::begin(known), std::end(known),
                                     [&](const row &r) { return !std::strcmp(r.name, spec.outputs[i].name); });
        if (at == std::end(known)) return leave_to_core(std::string("output '") + spec.outputs[i].name + "'");
        out.outputs.push_back(at->what);
    }
    return SS1_OK;
}

ss1_status load_norm(model_source &from, const std::string &name, norm_weights &out) {
    SS1_CHECK_OK(upload_tensor(from, name + ".weight", out.gamma));
    return upload_tensor(from, name + ".bias", out.beta);
}

// The product of a bf16 layer writes bf16 itself; the activation then is a pass over these, which are half the bytes of
// the sums in f32.
bool is_apart(const ss1_linear_desc &desc, dtype between, ss1_activation what) {
    return between == dtype::bf16 && desc.weight_dtype == SS1_DTYPE_BF16 && desc.N % 16 == 0 &&
           what != SS1_ACTIVATION_NONE && what != SS1_ACTIVATION_RELU;
}

sketch_form sketch_of_norm(const block_layer &layer) {
    return can_sketch_norm(layer.desc.K) ? sketch_of(layer.state.get()) : sketch_form{};
}

ss1_status load_encoder(model_source &from, const bert_config &config, size_t i, encoder &out) {
    const ss1_layer_spec *layers = from.spec.layers;
    const size_t first = i * config.encoder_layers();
    out.attended = std::all_of(layers + first, layers + first + 4, is_below_f32) ? dtype::bf16 : dtype::f32;
    out.between = std::all_of(layers + first + 4, layers + first + 6, is_below_f32) ? dtype::bf16 : dtype::f32;
    const auto attended = static_cast<ss1_dtype>(out.attended), between = static_cast<ss1_dtype>(out.between);
    const size_t parts = can_stack(from.spec, first, 3) ? 3 : 1;
    for (size_t k = 0; k < 3; k += parts)
        SS1_CHECK_OK(make_layer(from, first + k, parts, {attended, attended}, out.qkv.emplace_back()));
    SS1_CHECK_OK(make_layer(from, first + 3, 1, {attended, attended}, out.attention_output));
    const bool apart = is_apart(layers[first + 4].desc, out.between, config.hidden_act);
    if (apart) out.apart = config.hidden_act;
    SS1_CHECK_OK(make_layer(from, first + 4, 1, {between, between, apart ? SS1_ACTIVATION_NONE : config.hidden_act},
                            out.intermediate));
    SS1_CHECK_OK(make_layer(from, first + 5, 1, {between, between}, out.output));
    if (out.qkv.size() == 1) out.qkv_sketch = sketch_of_norm(out.qkv[0]);
    out.intermediate_sketch = sketch_of_norm(out.intermediate);
    out.output_applies = apart && sketch_of(out.output.state.get()).entries;
    const auto [attention_norm, output_norm] = config.norms(i);
    SS1_CHECK_OK(load_norm(from, attention_norm, out.attention_norm));
    return load_norm(from, output_norm, out.output_norm);
}

// The layers behind the encoder's: which each is, and its activation.
ss1_status load_others(model_source &from, bert &out) {
    const bert_config &c = out.config;
    struct row {
        const char *name;
        block_layer *to;
        ss1_activation activation;
    };
    const row rows[] = {{"embeddings_project", &out.projection, SS1_ACTIVATION_NONE},
                        {"pooler.dense", &out.pooler, SS1_ACTIVATION_TANH},
                        {"pre_classifier", &out.head_dense, c.classifier_act},
                        {"cls.predictions.transform.dense", &out.head_dense, c.words_act},
                        {"discriminator_predictions.dense", &out.head_dense, c.hidden_act}};
    for (size_t i = c.stored_layers() * c.encoder_layers(); i < from.spec.n_layers; ++i) {
        const auto known = std::find_if(std::begin(rows), std::end(rows),
                                        [&](const row &r) { return !std::strcmp(r.name, from.spec.layers[i].name); });
        const bool last = known == std::end(rows);
        const layer_use use = {SS1_DTYPE_F32, SS1_DTYPE_F32, last ? SS1_ACTIVATION_NONE : known->activation};
        SS1_CHECK_OK(make_layer(from, i, 1, use, last ? out.head_out : *known->to));
    }
    return c.has_transform() ? load_norm(from, "cls.predictions.transform.LayerNorm", out.head_norm) : SS1_OK;
}

ss1_status create(model_source &from, std::shared_ptr<const void> &graph) {
    auto made = std::make_shared<bert>();
    SS1_CHECK_OK(read_config(from.spec, made->config));
    const bert_config &config = made->config;
    if (const std::string part = unknown_part(from.spec, config); !part.empty()) return leave_to_core(part);
    SS1_CHECK_OK(find_outputs(from.spec, *made));
    made->encoders.resize(config.stored_layers());
    for (size_t i = 0; i < made->encoders.size(); ++i) {
        SS1_CHECK_OK(load_encoder(from, config, i, made->encoders[i]));
        made->half |= made->encoders[i].attended == dtype::bf16 || made->encoders[i].between == dtype::bf16;
    }
    SS1_CHECK_OK(load_others(from, *made));
    SS1_CHECK_OK(upload_tensor(from, "embeddings.word_embeddings.weight", made->word));
    SS1_CHECK_OK(upload_tensor(from, "embeddings.position_embeddings.weight", made->position));
    if (config.type_vocab_size)
        SS1_CHECK_OK(upload_tensor(from, "embeddings.token_type_embeddings.weight", made->type));
    SS1_CHECK_OK(load_norm(from, "embeddings.LayerNorm", made->embedding_norm));
    graph = std::move(made);
    return SS1_OK;
}

// ---- sessions

size_t scratch_of(const bert &model, size_t batch, size_t rows) {
    size_t most = 0;
    const auto add = [&](const block_layer &layer, size_t m) {
        if (layer) most = std::max(most, device_scratch(layer.state.get(), m));
    };
    for (const encoder &e : model.encoders) {
        for (const block_layer &layer : e.qkv) add(layer, rows);
        for (const block_layer *layer : {&e.attention_output, &e.intermediate, &e.output}) add(*layer, rows);
    }
    add(model.projection, rows);
    add(model.pooler, batch);
    for (const block_layer *layer : {&model.head_dense, &model.head_out}) add(*layer, std::max(batch, rows));
    return most;
}

// Lays out the ids of a run. The mask, which most runs lack, comes last; `bytes` are those before it.
packed_rows carve_rows(size_t batch, size_t rows, carver &memory, char *&from, size_t &bytes) {
    const size_t begin = memory.bytes();
    packed_rows to{};
    to.starts = memory.take<int>(batch + 1);
    to.ids = memory.take<int>(rows);
    to.positions = memory.take<int>(rows);
    to.types = memory.take<int>(rows);
    from = reinterpret_cast<char *>(to.starts);
    bytes = memory.bytes() - begin;
    to.mask = memory.take<float>(rows);
    return to;
}

std::shared_ptr<void> carve(const void *graph, size_t batch, size_t tokens, carver &memory, carver &pinned) {
    const bert &model = *static_cast<const bert *>(graph);
    const bert_config &config = model.config;
    const size_t H = config.hidden_size, E = config.embedding_size;
    auto a = std::make_shared<bert_activations>();
    if (batch > INT32_MAX / std::max<size_t>(tokens, 1)) {  // refused by the caller
        memory.take_bytes(SIZE_MAX, SIZE_MAX, 1);
        return a;
    }
    const size_t rows = bucket_of(batch * tokens);
    size_t half = 0, wide = 0;  // bytes of a row
    for (const encoder &e : model.encoders) {
        half = std::max(half, H * size_of(e.attended));
        half = std::max(half, H * size_of(e.between));
        wide = std::max(wide, 4 * H * size_of(e.attended));
        wide = std::max(wide, config.intermediate_size * size_of(e.between));
    }
    a->staged = carve_rows(batch, rows, pinned, a->staged_from, a->input_bytes);
    a->input = carve_rows(batch, rows, memory, a->input_from, a->input_bytes);
    if (model.projection) a->embedded = memory.take<float>(rows, E);
    a->state = memory.take<float>(rows, H);
    if (model.half) a->state_half = memory.take_bytes(rows, H, 2);
    a->wide = memory.take_bytes(rows, wide, 1);
    a->branch = memory.take_bytes(rows, half, 1);
    a->first = memory.take<float>(batch, H);
    a->pooled = memory.take<float>(batch, H);
    if (model.has_head()) {
        a->head = memory.take<float>(model.of_sequences() ? batch : rows, std::max(H, E));
        a->logits = memory.take<float>(model.of_sequences() ? batch : rows, model.head_out.outputs());
    }
    for (const result r : model.outputs)
        a->results.push_back(model.is_of_tokens(r) ? memory.take<float>(batch * tokens, model.width_of(r)) : nullptr);
    a->scratch = memory.take_bytes(scratch_of(model, batch, rows), 1, 1);
    return a;
}

// ---- runs

// A run whose ids are packed.
struct bert_run {
    const bert &model;
    const bert_activations &a;
    const ss1_model_run &run;
    cudaStream_t stream;
    size_t rows;     // their bucket
    size_t longest;  // at least that of the sequences
    bool hides;
    bool captured;  // nobody can give up

    bool given_up() const { return !captured && run.given_up(run.control) != 0; }
    bool wants(result what) const {
        for (size_t i = 0; i < model.outputs.size(); ++i)
            if (model.outputs[i] == what && run.outputs[i]) return true;
        return false;
    }
    norm_to norm(const norm_weights &w, float *y, size_t m, size_t n, const sketch_form &sketch = {}) const {
        return {.gamma = w.gamma->as<float>(),
                .beta = w.beta->as<float>(),
                .y = y,
                .half = y == a.state ? a.state_half : nullptr,
                .m = m,
                .n = n,
                .eps = static_cast<float>(model.config.layer_norm_eps),
                .sketch = sketch};
    }
    ss1_status layer(const block_layer &l, size_t m, const void *x, size_t ldx, void *y, size_t ldy,
                     const made_x &made = {}) const {
        return run_layer(l, {m, x, ldx, y, ldy, a.scratch, stream, made});
    }
    // A layer that reads the state, or the sketch that a norm made of it.
    ss1_status layer_of_state(const block_layer &l, dtype type, const sketch_form &sketch, void *y, size_t ldy) const {
        const void *x = type == dtype::bf16 ? a.state_half : static_cast<void *>(a.state);
        if (sketch.entries) return layer(l, rows, x, sketch.columns, y, ldy, {.sketched = true});
        return layer(l, rows, x, model.config.hidden_size, y, ldy);
    }
    const encoder &encoder_of(size_t i) const { return model.encoders[model.config.stored_layer(i)]; }
    // The sketch of the state that encoder layer i reads; a projection of the embeddings makes none.
    sketch_form sketch_before(size_t i) const {
        if (i == model.config.num_hidden_layers || (i == 0 && model.projection)) return {};
        return encoder_of(i).qkv_sketch;
    }
};

ss1_status embed_tokens(const bert_run &r) {
    const bert &model = r.model;
    const size_t E = model.config.embedding_size, H = model.config.hidden_size;
    const token_rows tokens = {.word = model.word->as<float>(),
                               .position = model.position->as<float>(),
                               .type = model.type ? model.type->as<float>() : nullptr,
                               .ids = r.a.input.ids,
                               .positions = r.a.input.positions,
                               .types = r.a.input.types};
    float *to = model.projection ? r.a.embedded : r.a.state;
    SS1_CUDA(embed(tokens, r.norm(model.embedding_norm, to, r.rows, E, r.sketch_before(0)), r.stream));
    if (!model.projection) return SS1_OK;
    SS1_CHECK_OK(r.layer(model.projection, r.rows, to, E, r.a.state, H));
    if (model.half) SS1_CUDA(round_to_bf16(r.a.state, r.a.state_half, r.rows * H, r.stream));
    return SS1_OK;
}

ss1_status run_attention(const bert_run &r, size_t i) {
    const encoder &e = r.encoder_of(i);
    const bert_config &config = r.model.config;
    const size_t H = config.hidden_size, value = size_of(e.attended);
    char *qkv = r.a.wide, *attended = r.a.wide + r.rows * 3 * H * value, *to = qkv;
    for (const block_layer &layer : e.qkv) {
        SS1_CHECK_OK(r.layer_of_state(layer, e.attended, r.sketch_before(i), to, 3 * H));
        to += layer.outputs() * value;
    }
    SS1_CUDA(attend({.qkv = qkv,
                     .starts = r.a.input.starts,
                     .mask = r.hides ? r.a.input.mask : nullptr,
                     .y = attended,
                     .batch = r.run.batch,
                     .heads = config.num_attention_heads,
                     .d = H / config.num_attention_heads,
                     .longest = r.longest,
                     .type = e.attended},
                    r.stream));
    SS1_CHECK_OK(r.layer(e.attention_output, r.rows, attended, H, r.a.branch, H));
    SS1_CUDA(normalize(r.a.branch, e.attended, r.a.state,
                       r.norm(e.attention_norm, r.a.state, r.rows, H, e.intermediate_sketch), r.stream));
    return SS1_OK;
}

ss1_status run_feed_forward(const bert_run &r, size_t i) {
    const encoder &e = r.encoder_of(i);
    const size_t H = r.model.config.hidden_size, I = r.model.config.intermediate_size;
    const auto apart = static_cast<activation>(e.apart);
    SS1_CHECK_OK(r.layer_of_state(e.intermediate, e.between, e.intermediate_sketch, r.a.wide, I));
    if (apart != activation::none && !e.output_applies) SS1_CUDA(activate(r.a.wide, r.rows * I, apart, r.stream));
    SS1_CHECK_OK(
        r.layer(e.output, r.rows, r.a.wide, I, r.a.branch, H, {.f = e.output_applies ? apart : activation::none}));
    SS1_CUDA(normalize(r.a.branch, e.between, r.a.state,
                       r.norm(e.output_norm, r.a.state, r.rows, H, r.sketch_before(i + 1)), r.stream));
    return SS1_OK;
}

// dense, activation, norm: [rows, E] in a.head.
ss1_status transform(const bert_run &r) {
    const size_t H = r.model.config.hidden_size, E = r.model.config.embedding_size;
    SS1_CHECK_OK(r.layer(r.model.head_dense, r.rows, r.a.state, H, r.a.head, E));
    SS1_CUDA(normalize(r.a.head, dtype::f32, nullptr, r.norm(r.model.head_norm, r.a.head, r.rows, E), r.stream));
    return SS1_OK;
}

// Makes a.logits of a head of tokens.
ss1_status run_token_head(const bert_run &r) {
    const bert &model = r.model;
    const size_t H = model.config.hidden_size, E = model.config.embedding_size;
    const float *x = r.a.state;
    size_t ldx = H;
    if (model.config.has_transform()) {
        SS1_CHECK_OK(transform(r));
        x = r.a.head;
        ldx = E;
    } else if (model.head_dense) {
        SS1_CHECK_OK(r.layer(model.head_dense, r.rows, x, H, r.a.head, H));
        x = r.a.head;
    }
    return r.layer(model.head_out, r.rows, x, ldx, r.a.logits, model.head_out.outputs());
}

// Makes a.pooled, and a.logits of a head of sequences.
ss1_status run_sequence_heads(const bert_run &r, bool wants_head) {
    const bert &model = r.model;
    const size_t H = model.config.hidden_size, B = r.run.batch;
    const bool reads_pooled = wants_head && !model.head_dense;
    SS1_CUDA(first_rows(r.a.state, r.a.input.starts, r.a.first, B, H, r.stream));
    if (r.wants(result::pooled) || reads_pooled) SS1_CHECK_OK(r.layer(model.pooler, B, r.a.first, H, r.a.pooled, H));
    if (!wants_head) return SS1_OK;
    if (model.head_dense) SS1_CHECK_OK(r.layer(model.head_dense, B, r.a.first, H, r.a.head, H));
    return r.layer(model.head_out, B, model.head_dense ? r.a.head : r.a.pooled, H, r.a.logits,
                   model.head_out.outputs());
}

// Gives the rows of tokens their places among the padding.
ss1_status unpack_results(const bert_run &r) {
    for (size_t i = 0; i < r.model.outputs.size(); ++i) {
        const result what = r.model.outputs[i];
        if (!r.run.outputs[i] || !r.model.is_of_tokens(what)) continue;
        const bool hidden = what == result::hidden;
        SS1_CUDA(unpack({.x = hidden ? r.a.state : r.a.logits + (what == result::ends ? 1 : 0),
                         .ldx = hidden ? r.model.config.hidden_size : r.model.head_out.outputs(),
                         .starts = r.a.input.starts,
                         .y = r.a.results[i],
                         .batch = r.run.batch,
                         .tokens = r.run.tokens,
                         .n = r.model.width_of(what)},
                        r.stream));
    }
    return SS1_OK;
}

ss1_status queue(const bert_run &r) {
    SS1_CUDA(cudaMemcpyAsync(r.a.input_from, r.a.staged_from, r.a.input_bytes, cudaMemcpyHostToDevice, r.stream));
    if (r.hides)
        SS1_CUDA(
            cudaMemcpyAsync(r.a.input.mask, r.a.staged.mask, r.rows * sizeof(float), cudaMemcpyHostToDevice, r.stream));
    SS1_CHECK_OK(embed_tokens(r));
    for (size_t i = 0; i < r.model.config.num_hidden_layers; ++i) {
        if (i % layers_of_segment == 0 && r.given_up()) return SS1_OK;
        SS1_CHECK_OK(run_attention(r, i));
        SS1_CHECK_OK(run_feed_forward(r, i));
    }
    const bool wants_head = r.wants(result::logits) || r.wants(result::starts) || r.wants(result::ends);
    const bool scores = wants_head && r.model.of_sequences();
    if (wants_head && !scores) SS1_CHECK_OK(run_token_head(r));
    if (scores || r.wants(result::pooled)) SS1_CHECK_OK(run_sequence_heads(r, scores));
    return SS1_OK;
}

ss1_status download(const bert_run &r) {
    for (size_t i = 0; i < r.model.outputs.size(); ++i) {
        const result what = r.model.outputs[i];
        if (!r.run.outputs[i]) continue;
        const bool tokens = r.model.is_of_tokens(what);
        const float *from = tokens ? r.a.results[i] : what == result::pooled ? r.a.pooled : r.a.logits;
        const size_t n = r.run.batch * (tokens ? r.run.tokens : 1) * r.model.width_of(what);
        SS1_CUDA(cudaMemcpyAsync(r.run.outputs[i]->data, from, n * sizeof(float), cudaMemcpyDefault, r.stream));
    }
    return SS1_OK;
}

const int64_t *ids_of(const ss1_tensor *tensor) {
    return tensor ? static_cast<const int64_t *>(tensor->data) : nullptr;
}

// Checks the ids of a run and packs its rows.
ss1_status pack(const bert &model, const ss1_model_run &run, packed_rows &to) {
    const bert_config &config = model.config;
    const int64_t *ids = ids_of(run.inputs[0]), *mask = ids_of(run.inputs[1]),
                  *types = config.type_vocab_size ? ids_of(run.inputs[2]) : nullptr;
    const auto check = [&](const char *name, const int64_t *values, size_t limit) {
        return pass_on(check_ids(name, values, run.batch, run.tokens, limit));
    };
    SS1_CHECK_OK(check("input_ids", ids, config.vocab_size));
    SS1_CHECK_OK(check("attention_mask", mask, 2));
    SS1_CHECK_OK(check("token_type_ids", types, config.type_vocab_size));
    pack_rows({.ids = ids,
               .mask = mask,
               .types = types,
               .batch = run.batch,
               .tokens = run.tokens,
               .padding = config.counts_positions ? static_cast<int64_t>(config.pad_token_id) : -1},
              to);
    return SS1_OK;
}

ss1_status run(const void *graph, void *activations, const run_place &place) {
    const bert &model = *static_cast<const bert *>(graph);
    auto &a = *static_cast<bert_activations *>(activations);
    if (place.given_up()) return SS1_OK;
    SS1_CHECK_OK(pack(model, place.run, a.staged));
    bert_run r = {.model = model,
                  .a = a,
                  .run = place.run,
                  .stream = place.memory.stream,
                  .rows = bucket_of(a.staged.rows),
                  .longest = a.staged.longest,
                  .hides = a.staged.hides,
                  .captured = false};
    if (r.rows > most_graph_rows) {
        SS1_CHECK_OK(queue(r));
    } else {
        constexpr size_t step = 64;
        r.longest = round_up(r.longest, step);
        size_t wanted = 0;
        for (size_t i = 0; i < model.outputs.size(); ++i) wanted |= size_t{place.run.outputs[i] != nullptr} << i;
        r.captured = true;
        SS1_CHECK_OK(
            place.graphs.run({r.rows, r.longest, r.hides, wanted, r.run.batch}, r.stream, [&] { return queue(r); }));
    }
    if (place.given_up()) return SS1_OK;
    SS1_CHECK_OK(unpack_results(r));  // apart from the graph, which then serves any padded length
    return download(r);
}

}  // namespace

const model_family bert_family = {"bert", create, carve, run};

}  // namespace ss1::cuda
