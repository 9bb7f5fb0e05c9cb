// SPDX-License-Identifier: Apache-2.0
// A run of a BERT: embeddings, encoder layers, heads, and the memory they need. The tokens of all sequences are rows,
// without padding. Where there are enough rows, a task takes its own block by block from one attention to the next, so
// that what is between the layers stays in L2; else each layer is cut into tasks. Both give the same bits.
#include "base/stage_clock.hpp"
#include "model/bert.hpp"
#include "op/backend.hpp"
#include "op/embedding.hpp"
#include "op/linear_cpu.hpp"
#include "op/norm.hpp"

namespace ss1 {
namespace {

// Rows that a task should have: with fewer, weights take longer to come from L3 than to be multiplied.
constexpr size_t rows_of_task = 128;
constexpr size_t row_block = 256;  // rows between two attentions at a time
constexpr size_t chunk = 4096;     // rows at a time, layer by layer

size_t round_up(size_t a, size_t b) {
    return (a + b - 1) / b * b;
}

bool on_cpu(const bert_model &model) noexcept {
    return std::ranges::all_of(model.layers, [](const named_layer &l) { return l.layer->backend == &cpu_backend; });
}

std::span<const named_layer> layers_of(const bert_model &model, size_t encoder) noexcept {
    return std::span(model.layers).subspan(encoder * per_encoder, per_encoder);
}

// Runs f(layer) for what makes queries, keys and values: one layer to three.
template <class F>
void for_qkv(const bert_model &model, size_t encoder, F &&f) {
    const auto layers = layers_of(model, encoder);
    for (size_t i = to_query; i <= to_value; i += layers[i].layer->desc.N / model.config.hidden_size)
        f(*layers[i].layer);
}

// ------------------------------------------------------------------------------------------------------- memory, tasks

// Tasks that each take their rows from one attention to the next; 0: all rows go layer by layer, cut into tasks.
size_t graph_tasks(const ss1_context &context, const bert_model &model, size_t m) noexcept {
    if (!on_cpu(model)) return 0;
    uint64_t ns = 0;
    const auto add = [&](const ss1_layer &l) { ns += linear_ns(*static_cast<const linear *>(l.state), m); };
    for_qkv(model, 0, add);
    for (const named_layer &l : layers_of(model, 0).subspan(attention_output)) add(*l.layer);
    const size_t wanted = linear_most_tasks(context, ns);
    return wanted == 1 || m / rows_of_task >= wanted ? wanted : 0;
}

// Memory of one task, or of all layers, for up to `rows` rows: bytes from its start. The intermediate comes first.
struct block_layout {
    size_t apart, scratch, total;  // `apart`: outputs of other backends, to which the residual is added here
};

block_layout make_layout(const bert_model &model, size_t rows, bool alone) noexcept {
    block_layout at;
    rows = std::min(rows, alone ? row_block : chunk);
    // Kernels read rows in groups.
    at.apart = round_up(round_up(rows, row_group) * model.intermediate_row_bytes, 64);
    const size_t apart = alone || on_cpu(model) ? 0 : rows * model.config.hidden_size * sizeof(float);
    at.scratch = at.apart + round_up(apart, 64);
    size_t scratch = 0;
    for (const named_layer &l : model.layers) {
        const size_t bytes = alone ? linear_task_bytes(*static_cast<const linear *>(l.layer->state), rows)
                                   : l.layer->backend->layer_scratch(l.layer->state, rows);
        scratch = std::max(scratch, bytes);
    }
    at.total = at.scratch + round_up(scratch, 64);
    return at;
}

// The most that any number of rows up to m takes.
size_t task_memory(const ss1_context &context, const bert_model &model, size_t m) noexcept {
    const size_t threads = context.num_threads;
    m = std::min(m, std::max(threads * row_block, chunk));  // beyond, every task has a whole block
    const bool cpu = on_cpu(model);
    size_t most = 0;
    if (!cpu || threads > 1) most = make_layout(model, cpu ? std::min(m, threads * rows_of_task) : m, false).total;
    for (size_t tasks = 1; cpu && tasks <= threads; ++tasks)
        most = std::max(most, tasks * make_layout(model, longest_part(m, tasks), true).total);
    return most;
}

// ----------------------------------------------------------------------------------------------------------------- run

// Some rows of a run. `alone`: one task of several, on its own thread; otherwise each layer is cut into tasks.
struct worker {
    const ss1_context &context;
    const bert_model &model;
    const bert_activations &memory;
    const run_control &control;
    block_layout at;
    char *base;
    bool alone;
    stage_clock clock;
};

// y = layer(x) plus the residual, of a backend that adds none; such backends give f32.
ss1_status run_and_add(const worker &w, const ss1_layer &layer, const ss1_linear_args &args) {
    const size_t N = layer.desc.N;
    ss1_linear_args alone = args;
    alone.residual = nullptr;
    alone.ldr = 0;
    alone.y = w.base + w.at.apart;
    alone.ldy = N;
    SS1_TRY(layer_run(layer, alone));
    const auto *sums = static_cast<const float *>(alone.y), *residual = static_cast<const float *>(args.residual);
    auto *y = static_cast<float *>(args.y);
    for (size_t i = 0; i < args.m; ++i)
        for (size_t n = 0; n < N; ++n) y[i * args.ldy + n] = sums[i * N + n] + residual[i * args.ldr + n];
    return SS1_OK;
}

// y = layer(x), plus the residual if there is one.
ss1_status run_linear(worker &w, bert_stage stage, const ss1_layer &layer, size_t m, const void *x, size_t ldx, void *y,
                      size_t ldy, const void *residual = nullptr) {
    if (w.control.given_up()) return SS1_OK;
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    args.ldy = ldy;
    args.residual = residual;
    args.ldr = residual ? ldy : 0;
    args.scratch = w.base + w.at.scratch;
    ss1_status status = SS1_OK;
    if (w.alone) {
        linear_run_rows(*static_cast<const linear *>(layer.state), args, 0, m, args.scratch, true);
    } else if (residual && layer.backend != &cpu_backend) {
        status = run_and_add(w, layer, args);
    } else {
        status = layer_run(layer, args);
    }
    w.clock.lap(stage);
    return status;
}

norm_args norm_of(const bert_model &model, const norm_weights &weights, float *rows, size_t m) noexcept {
    return {rows, nullptr, weights.gamma.as<float>(), weights.beta.as<float>(),
            rows, m,       model.config.hidden_size,  static_cast<float>(model.config.layer_norm_eps)};
}

void run_norm(worker &w, const norm_weights &weights, float *rows, size_t m) {
    if (w.control.given_up()) return;
    const norm_args args = norm_of(w.model, weights, rows, m);
    if (w.alone) {
        w.model.norm->run(args);
    } else {
        normalize(w.context, *w.model.norm, args);
    }
    w.clock.lap(bert_stage::norm);
}

// Rows from m0 on, from the attention's result to the input of the next encoder layer.
ss1_status run_block(worker &w, size_t encoder, size_t m0, size_t m) {
    const bert_model &model = w.model;
    const auto layers = layers_of(model, encoder);
    const size_t H = model.config.hidden_size;
    float *state = w.memory.state + m0 * H;
    const char *attended = w.memory.qkv + m0 * model.qkv_row_bytes;
    SS1_TRY(run_linear(w, bert_stage::attention_output, *layers[attention_output].layer, m, attended,
                       model.qkv_ld(encoder), state, H, state));
    run_norm(w, model.norms[2 * encoder], state, m);
    const size_t ld = model.intermediate_ld;
    SS1_TRY(run_linear(w, bert_stage::intermediate, *layers[intermediate].layer, m, state, H, w.base, ld));
    SS1_TRY(run_linear(w, bert_stage::output, *layers[output].layer, m, w.base, ld, state, H, state));
    run_norm(w, model.norms[2 * encoder + 1], state, m);
    return SS1_OK;
}

// Queries, keys and values of the rows from m0 on.
ss1_status run_qkv(worker &w, size_t encoder, size_t m0, size_t m) {
    const bert_model &model = w.model;
    const size_t H = model.config.hidden_size, size = model.qkv_size(encoder);
    char *to = w.memory.qkv + m0 * model.qkv_row_bytes;
    ss1_status status = SS1_OK;
    for_qkv(model, encoder, [&](const ss1_layer &layer) {
        if (status == SS1_OK)
            status = run_linear(w, bert_stage::qkv, layer, m, w.memory.state + m0 * H, H, to, model.qkv_ld(encoder));
        to += layer.desc.N * size;
    });
    return status;
}

// What lies between two attentions: the rest of encoder layer `next` - 1 and the beginning of layer `next`, as far as
// there are such layers.
ss1_status run_between(worker &w, size_t next, size_t begin, size_t end) {
    ss1_status status = SS1_OK;
    for_parts(end - begin, w.alone ? row_block : chunk, [&](size_t m0, size_t m1) {
        if (status == SS1_OK && next > 0) status = run_block(w, next - 1, begin + m0, m1 - m0);
        if (status == SS1_OK && next < w.model.config.num_hidden_layers) status = run_qkv(w, next, begin + m0, m1 - m0);
    });
    return status;
}

// The same for all rows, in `tasks` parts unless it is 0.
ss1_status run_all_between(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                           const run_control &control, size_t next, size_t rows, size_t tasks) {
    if (tasks == 0) {
        worker w = {context,
                    model,
                    memory,
                    control,
                    make_layout(model, rows, false),
                    memory.memory,
                    false,
                    stage_clock(memory.stage_seconds)};
        return run_between(w, next, 0, rows);
    }
    const block_layout at = make_layout(model, longest_part(rows, tasks), true);
    if (memory.stage_seconds) std::fill_n(memory.task_seconds, tasks * n_bert_stages, 0.0);
    parallel(context, tasks, [&](size_t task) {
        double *seconds = memory.stage_seconds ? memory.task_seconds + task * n_bert_stages : nullptr;
        worker w = {context, model, memory, control, at, memory.memory + task * at.total, true, stage_clock(seconds)};
        run_between(w, next, part_begin(rows, tasks, task), part_begin(rows, tasks, task + 1));
    });
    if (memory.stage_seconds) add_slowest(memory.task_seconds, tasks, n_bert_stages, memory.stage_seconds);
    return SS1_OK;
}

// The sequences' rows. A mask of ones, then zeros is a length; any other one keeps all T rows and hides keys from all.
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

ss1_status run_encoders(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                        const run_control &control, std::span<const sequence> sequences) {
    const size_t rows = sequences.back().first + sequences.back().length, H = model.config.hidden_size;
    const size_t tasks = graph_tasks(context, model, rows), n = model.config.num_hidden_layers;
    stage_clock clock(memory.stage_seconds);
    for (size_t i = 0; i <= n; ++i) {
        SS1_TRY(control.check());
        SS1_TRY(run_all_between(context, model, memory, control, i, rows, tasks));
        if (i == n) break;
        SS1_TRY(control.check());
        clock.restart();
        const size_t size = model.qkv_size(i), heads = model.config.num_attention_heads;
        attend(context, model.attention,
               {memory.qkv, memory.qkv + H * size, memory.qkv + 2 * H * size, size == 2 ? dtype::bf16 : dtype::f32,
                sequences, heads, H / heads, model.qkv_ld(i), memory.memory});
        clock.lap(bert_stage::attention);
    }
    return control.check();
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
    a.state = memory.take<float>(rows, H);
    a.qkv = memory.take<char>(rows + row_group, model.qkv_row_bytes);
    if (!memory.fits()) return a;
    carve_heads(model, B, rows, memory, a);
    a.scratch = memory.take<char>(layer_scratch(model.layers, rows), 1);
    a.task_seconds = memory.take<double>(context.num_threads, n_bert_stages);
    a.memory = memory.take<char>(std::max(task_memory(context, model, rows),
                                          attention_scratch(context, model.attention, B, T, heads, H / heads)),
                                 1);
    return a;
}

ss1_status run(const ss1_context &context, const bert_model &model, const bert_activations &memory,
               const run_control &control, const tensor_list<const ss1_tensor> &inputs, const run_size &size,
               run_outputs &outputs) {
    const bert_config &config = model.config;
    stage_clock clock(memory.stage_seconds);
    const std::span<const sequence> sequences = find_sequences(memory, inputs[attention_mask], size);
    const size_t rows = sequences.back().first + sequences.back().length;
    embed_tokens(context, *model.norm,
                 {model.word.as<float>(), model.position.as<float>(), model.type.as<float>(), ids_of(inputs[input_ids]),
                  ids_of(inputs[token_type_ids]), size.tokens, sequences,
                  config.variant == bert_variant::roberta ? static_cast<int64_t>(config.pad_token_id) : -1},
                 norm_of(model, model.embedding_norm, memory.state, rows));
    clock.lap(bert_stage::embed);
    SS1_TRY(run_encoders(context, model, memory, control, sequences));
    clock.restart();
    SS1_TRY(run_heads(context, model, memory, control, sequences, size.tokens, outputs));
    clock.lap(bert_stage::heads);
    return SS1_OK;
}

}  // namespace ss1
