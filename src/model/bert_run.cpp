// SPDX-License-Identifier: Apache-2.0
// A run of a BERT: embeddings, encoder layers, heads, and the memory they need. The tokens of all sequences are rows,
// without padding. The row executor takes them from one attention to the next; the attention has its own cut, by heads.
#include "base/round.hpp"
#include "model/bert.hpp"
#include "op/embedding.hpp"
#include "op/norm.hpp"
#include "op/rotary.hpp"
#include "op/row_executor.hpp"

namespace ss1 {
namespace {

// With fewer rows a task, weights take longer to come from L3 than to be multiplied.
constexpr size_t rows_of_task = 128;
constexpr size_t row_block = 256;  // rows between two attentions at a time

// Runs f(layer) for layers that read the same x: one layer to three, of n outputs each, some of which run as one.
template <class F>
void for_alike(std::span<const named_layer> layers, size_t n, F &&f) {
    for (size_t i = 0; i < layers.size(); i += layers[i].layer->desc.N / n) f(*layers[i].layer);
}

row_graph graph_of(const team &all, const bert_model &model) noexcept {
    const auto on_one_thread = [](const named_layer &l) { return runs_on_one_thread(*l.layer); };
    return {.all = all,
            .on_one_thread = std::ranges::all_of(model.layers, on_one_thread),
            .block_rows = row_block,
            .least_rows = rows_of_task};
}

// About how long m rows take from one attention to the next, on one thread.
uint64_t encoder_ns(const bert_model &model, size_t m) noexcept {
    const encoder_part part = model.encoder(0);
    uint64_t ns = layer_ns(part.attention_output, m) + layer_ns(part.output, m);
    const auto add = [&](const ss1_layer &l) { ns += layer_ns(l, m); };
    for_alike(part.qkv, model.config.hidden_size, add);
    for_alike(part.intermediate, model.config.intermediate_size, add);
    return ns;
}

// Memory of one worker for up to `rows` rows: BYTES from its start. The intermediate comes first.
struct block_layout {
    size_t normed;          // rows behind a norm, where norms come first
    size_t apart, scratch;  // `apart`: outputs of a layer that adds no residual: it is added here
};

block_layout make_layout(const bert_model &model, size_t rows) noexcept {
    block_layout at;
    const size_t grouped = round_up(rows, row_group);  // as kernels read them
    const size_t H = model.config.hidden_size * sizeof(float);
    at.normed = round_up(grouped * model.intermediate_row_bytes, 64);
    at.apart = at.normed + (model.config.norms_first ? round_up(grouped * H, 64) : 0);
    at.scratch = at.apart + (model.adds_residual ? 0 : round_up(rows * H, 64));
    return at;
}

size_t block_bytes(const team &who, const bert_model &model, size_t rows) noexcept {
    return make_layout(model, rows).scratch + round_up(layer_scratch(who, model.layers, rows), 64);
}

// A worker of a run, which takes rows from one attention to the next.
struct between {
    const bert_model &model;
    const bert_activations &memory;
    const run_control &control;
    std::span<const sequence> sequences;
    row_worker &worker;
    block_layout at;

    float *normed() const noexcept { return reinterpret_cast<float *>(worker.memory + at.normed); }
};

// y = layer(x) plus the residual, where the layer adds none; its backend gives f32.
ss1_status run_and_add(const between &b, const ss1_layer &layer, const ss1_linear_args &args) {
    const size_t N = layer.desc.N;
    ss1_linear_args without_residual = args;
    without_residual.residual = nullptr;
    without_residual.ldr = 0;
    without_residual.y = b.worker.memory + b.at.apart;
    without_residual.ldy = N;
    SS1_TRY(layer_run(b.worker.who, layer, without_residual, true));
    const auto *sums = static_cast<const float *>(without_residual.y);
    const auto *residual = static_cast<const float *>(args.residual);
    auto *y = static_cast<float *>(args.y);
    parallel_ranges(b.worker.who, args.m, 3 * N, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i)
            for (size_t n = 0; n < N; ++n) y[i * args.ldy + n] = sums[i * N + n] + residual[i * args.ldr + n];
    });
    return SS1_OK;
}

// y = layer(x), plus y itself if `residual`.
ss1_status run_linear(const between &b, bert_stage stage, const ss1_layer &layer, size_t m, const void *x, size_t ldx,
                      void *y, size_t ldy, bool residual = false) {
    if (b.control.given_up()) return SS1_OK;
    ss1_linear_args args = linear_args(m, x, ldx, y, ldy, b.worker.memory + b.at.scratch);
    args.residual = residual ? y : nullptr;
    args.ldr = residual ? ldy : 0;
    const bool apart = residual && !layer.adds_residual;
    const ss1_status status = apart ? run_and_add(b, layer, args) : layer_run(b.worker.who, layer, args, true);
    b.worker.clock.lap(stage);
    return status;
}

norm_args norm_of(const bert_model &model, const norm_weights &weights, float *rows, size_t m) noexcept {
    return {.x = rows,
            .r = nullptr,
            .gamma = weights.gamma.as<float>(),
            .beta = weights.beta.as<float>(),
            .y = rows,
            .m = m,
            .n = model.config.hidden_size,
            .eps = static_cast<float>(model.config.layer_norm_eps)};
}

void run_norm(const between &b, const norm_weights &weights, float *rows, size_t m, float *y) {
    if (b.control.given_up()) return;
    norm_args args = norm_of(b.model, weights, rows, m);
    args.y = y;
    normalize(b.worker.who, *b.model.norm, args);
    b.worker.clock.lap(bert_stage::norm);
}

// Makes the first half of each row the product of both, of which one passes the activation.
void run_gate(const between &b, size_t m) {
    const bert_config &config = b.model.config;
    if (config.gate == gating::none || b.control.given_up()) return;
    const size_t n = config.intermediate_size, ld = b.model.intermediate_ld;
    auto *rows = reinterpret_cast<float *>(b.worker.memory), *gates = rows + (config.gate == gating::second ? n : 0);
    parallel_ranges(b.worker.who, m, 3 * n, [&](size_t begin, size_t end) {
        if (b.model.gate) b.model.gate->run({.y = gates + begin * ld, .m = end - begin, .n = n, .ldy = ld});
        for (size_t i = begin; i < end; ++i)
            for (size_t j = 0; j < n; ++j) rows[i * ld + j] *= rows[i * ld + n + j];
    });
    b.worker.clock.lap(bert_stage::intermediate);
}

// Takes m rows from m0 on from the attention's result to the input of the next encoder layer.
ss1_status finish_encoder(const between &b, size_t encoder, size_t m0, size_t m) {
    const bert_model &model = b.model;
    const encoder_part part = model.encoder(encoder);
    const size_t H = model.config.hidden_size, ld = model.intermediate_ld;
    float *state = b.memory.state + m0 * H, *x = model.config.norms_first ? b.normed() : state;
    char *between_layers = b.worker.memory, *to = between_layers;
    const char *attended = b.memory.qkv + m0 * model.qkv_row_bytes;
    SS1_TRY(run_linear(b, bert_stage::attention_output, part.attention_output, m, attended, model.qkv_ld(encoder),
                       state, H, true));
    run_norm(b, model.norms[model.config.norms_first ? 2 * encoder + 1 : 2 * encoder], state, m, x);
    ss1_status status = SS1_OK;
    for_alike(part.intermediate, model.config.intermediate_size, [&](const ss1_layer &layer) {
        if (status == SS1_OK) status = run_linear(b, bert_stage::intermediate, layer, m, x, H, to, ld);
        to += layer.desc.N * size_of(static_cast<dtype>(layer.desc.y_dtype));
    });
    SS1_TRY(status);
    run_gate(b, m);
    SS1_TRY(run_linear(b, bert_stage::output, part.output, m, between_layers, ld, state, H, true));
    if (!model.config.norms_first) run_norm(b, model.norms[2 * encoder + 1], state, m, state);
    return SS1_OK;
}

// Turns the queries and keys of m rows from m0 on by their positions.
void run_rotary(const between &b, size_t layer, size_t m0, size_t m) {
    const bert_model &model = b.model;
    const bert_config &config = model.config;
    const size_t encoder = config.stored_layer(layer), heads = config.num_attention_heads;
    if (!config.rotary.size || b.control.given_up()) return;
    rotate(b.worker.who, {.rows = b.memory.qkv + m0 * model.qkv_row_bytes,
                          .type = model.qkv_size(encoder) == 2 ? dtype::bf16 : dtype::f32,
                          .first = m0,
                          .m = m,
                          .heads = 2 * heads,
                          .head_size = config.hidden_size / heads,
                          .ld = model.qkv_ld(encoder),
                          .sequences = b.sequences,
                          .table = (config.is_local(layer) ? model.local_rotary : model.rotary).as<float>(),
                          .size = config.rotary.size,
                          .round = model.attention.round});
    b.worker.clock.lap(bert_stage::qkv);
}

// Makes queries, keys and values of encoder layer `layer` for m rows from m0 on.
ss1_status run_qkv(const between &b, size_t layer, size_t m0, size_t m) {
    const bert_model &model = b.model;
    const size_t encoder = model.config.stored_layer(layer), H = model.config.hidden_size;
    const size_t size = model.qkv_size(encoder), ld = model.qkv_ld(encoder);
    char *to = b.memory.qkv + m0 * model.qkv_row_bytes;
    float *x = b.memory.state + m0 * H;
    if (model.config.norms_first && model.norms[2 * encoder].gamma.bytes()) {
        run_norm(b, model.norms[2 * encoder], x, m, b.normed());
        x = b.normed();
    }
    ss1_status status = SS1_OK;
    for_alike(model.encoder(encoder).qkv, H, [&](const ss1_layer &made) {
        if (status == SS1_OK) status = run_linear(b, bert_stage::qkv, made, m, x, H, to, ld);
        to += made.desc.N * size;
    });
    run_rotary(b, layer, m0, m);
    return status;
}

// All rows between two attentions: the rest of encoder layer `next` - 1 and the beginning of layer `next`, as far as
// there are such layers.
ss1_status run_between(const row_graph &graph, const bert_model &model, const bert_activations &memory,
                       const model_run &run, std::span<const sequence> sequences, size_t next, size_t tasks) {
    const size_t rows = sequences.back().first + sequences.back().length;
    const auto bytes = [&](const team &who, size_t m) { return block_bytes(who, model, m); };
    const stage_times times = {memory.task_seconds, run.stage_seconds, n_bert_stages};
    return run_rows(graph, rows, tasks, memory.memory, times, bytes, [&](row_worker &worker, size_t begin, size_t end) {
        const size_t most = std::min(end - begin, worker.block_rows);
        const between b = {.model = model,
                           .memory = memory,
                           .control = run.control,
                           .sequences = sequences,
                           .worker = worker,
                           .at = make_layout(model, most)};
        return for_blocks(begin, end, worker.block_rows, [&](size_t m0, size_t m1) {
            const bert_config &config = model.config;
            if (next > 0) SS1_TRY(finish_encoder(b, config.stored_layer(next - 1), m0, m1 - m0));
            if (next < config.num_hidden_layers) return run_qkv(b, next, m0, m1 - m0);
            float *state = memory.state + m0 * config.hidden_size;
            if (config.norms_first) run_norm(b, model.last_norm, state, m1 - m0, state);
            return SS1_OK;
        });
    });
}

// Finds the rows of each sequence. A mask of ones, then zeros is a length; any other mask keeps all T rows and hides
// keys from all of them.
std::span<const sequence> find_sequences(const bert_activations &memory, const ss1_tensor *given,
                                         const run_size &size) noexcept {
    const size_t T = size.tokens;
    size_t rows = 0;
    for (size_t s = 0; s < size.batch; ++s) {
        sequence &to = memory.sequences[s] = {rows, T, nullptr};
        const int64_t *seen = given ? ids_of(given) + s * T : nullptr;
        if (seen) {
            const size_t ones = static_cast<size_t>(std::find(seen, seen + T, 0) - seen);
            if (ones > 0 && std::find(seen + ones, seen + T, 1) == seen + T) {
                to.length = ones;
            } else {
                float *mask = memory.mask + s * T;
                for (size_t t = 0; t < T; ++t) mask[t] = seen[t] ? 0.0f : masked_key;
                to.mask = mask;
            }
        }
        rows += to.length;
    }
    return {memory.sequences, size.batch};
}

void zero_masked(float *rows, size_t columns, std::span<const sequence> sequences) noexcept {
    for (const sequence &s : sequences)
        for (size_t t = 0; s.mask && t < s.length; ++t)
            if (s.mask[t] != 0) std::fill_n(rows + (s.first + t) * columns, columns, 0.0f);
}

ss1_status run_encoders(const bert_model &model, const bert_activations &memory, const model_run &run,
                        std::span<const sequence> sequences) {
    const size_t rows = sequences.back().first + sequences.back().length, H = model.config.hidden_size;
    const size_t n = model.config.num_hidden_layers, heads = model.config.num_attention_heads;
    const row_graph graph = graph_of(run.all(), model);
    const size_t tasks = row_tasks(graph, rows, [&] { return encoder_ns(model, rows); });
    stage_clock clock(run.stage_seconds);
    for (size_t i = 0; i <= n; ++i) {
        SS1_TRY(run.control.check());
        SS1_TRY(run_between(graph, model, memory, run, sequences, i, tasks));
        if (i == n) break;
        SS1_TRY(run.control.check());
        clock.restart();
        const size_t layer = model.config.stored_layer(i), size = model.qkv_size(layer);
        const position_terms terms = model.terms_of(layer);
        attend(run.context, model.attention,
               {.q = memory.qkv,
                .k = memory.qkv + H * size,
                .v = memory.qkv + 2 * H * size,
                .type = size == 2 ? dtype::bf16 : dtype::f32,
                .sequences = sequences,
                .heads = heads,
                .head_size = H / heads,
                .ld = model.qkv_ld(layer),
                .scratch = memory.memory,
                .bias = model.bias.as<float>(),
                .bias_tokens = model.config.max_tokens(),
                .window = model.config.is_local(i) ? model.config.window : SIZE_MAX,
                .positions = model.has_position_terms() ? &terms : nullptr,
                .masks_queries = model.config.blanks_masked});
        clock.lap(bert_stage::attention);
    }
    return run.control.check();
}

}  // namespace

bert_activations carve(const ss1_context &context, const bert_model &model, const session_bounds &bounds,
                       carver &memory) noexcept {
    const bert_config &config = model.config;
    const size_t B = bounds.max_batch, T = bounds.max_tokens, H = config.hidden_size,
                 heads = config.num_attention_heads;
    bert_activations a = {};
    a.mask = memory.take<float>(B, T);
    a.sequences = memory.take<sequence>(B, 1);
    if (!memory.fits()) return a;
    const size_t rows = B * T;
    if (config.projects_embeddings) a.embedded = memory.take<float>(rows, config.embedding_size);
    a.state = memory.take<float>(rows, H);
    a.qkv = memory.take<char>(rows + row_group, model.qkv_row_bytes);
    if (!memory.fits()) return a;
    carve_heads(model, B, rows, memory, a);
    const team all(context, bounds.observer);
    a.scratch = memory.take<char>(layer_scratch(all, model.layers, rows), 1);
    a.task_seconds = memory.take<double>(context.num_threads, n_bert_stages);
    const auto bytes = [&](const team &who, size_t m) { return block_bytes(who, model, m); };
    const position_terms terms = model.terms_of(0);
    const size_t attention = attention_scratch(context, model.attention, model.has_position_terms() ? &terms : nullptr,
                                               B, T, heads, H / heads);
    a.memory = memory.take<char>(std::max(row_memory(graph_of(all, model), rows, bytes), attention), 1);
    return a;
}

ss1_status run(const bert_model &model, const bert_activations &memory, model_run &run) {
    const bert_config &config = model.config;
    stage_clock clock(run.stage_seconds);
    const std::span<const sequence> sequences = find_sequences(memory, run.inputs[attention_mask], run.size);
    const size_t rows = sequences.back().first + sequences.back().length, E = config.embedding_size;
    norm_args norm = norm_of(model, model.embedding_norm, model.projection ? memory.embedded : memory.state, rows);
    norm.n = E;
    embed_tokens(run.context, *model.norm,
                 {.word = model.word.as<float>(),
                  .position = model.position.as<float>(),
                  .type = model.type.as<float>(),
                  .ids = ids_of(run.inputs[input_ids]),
                  .types = model.types_in(run.inputs),
                  .tokens = run.size.tokens,
                  .sequences = sequences,
                  .padding = config.counts_positions ? static_cast<int64_t>(config.pad_token_id) : -1},
                 norm);
    if (config.blanks_masked) zero_masked(memory.state, config.hidden_size, sequences);
    if (model.projection)
        SS1_TRY(layer_run(run.all(), *model.projection,
                          linear_args(rows, memory.embedded, E, memory.state, config.hidden_size, memory.scratch)));
    clock.lap(bert_stage::embed);
    SS1_TRY(run_encoders(model, memory, run, sequences));
    clock.restart();
    SS1_TRY(run_heads(model, memory, run, sequences));
    clock.lap(bert_stage::heads);
    return SS1_OK;
}

}  // namespace ss1
