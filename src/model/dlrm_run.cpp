// SPDX-License-Identifier: Apache-2.0
// A run of a DLRM: how a block of rows passes from lookup to top MLP, and the memory that it needs.
#include <atomic>

#include "base/round.hpp"
#include "model/dlrm.hpp"
#include "op/interaction.hpp"

namespace ss1 {
namespace {

row_graph graph_of(const team &all, const dlrm_model &model) noexcept {
    const auto on_one_thread = [](const ss1_tower &tower) { return tower.on_one_thread; };
    return {.all = all,
            .on_one_thread = on_one_thread(model.bottom) && on_one_thread(model.top) &&
                             std::ranges::all_of(model.cross, on_one_thread),
            .block_rows = model.row_block,
            .least_rows = row_panel};
}

// About how long m rows with `lookups` lookups take on one thread.
uint64_t graph_ns(const dlrm_model &model, size_t m, size_t lookups) noexcept {
    constexpr size_t lookup_bytes_a_ns = 5;  // rows lie anywhere in memory
    uint64_t ns = tower_ns(model.bottom, m) + tower_ns(model.top, m);
    ns += lookups * model.config.embedding_dim * sizeof(float) / lookup_bytes_a_ns;
    for (const ss1_tower &tower : model.cross) ns += tower_ns(tower, m);
    return ns;
}

// Memory of one worker for blocks of up to `rows` rows: BYTES from its start. The vectors come first.
struct block_layout {
    size_t top_x, crossed[2], scratch;
};

// Rows from lookup to interaction at a time.
size_t front_rows(const team &who, const dlrm_model &model, size_t rows) noexcept {
    return who.is_whole() ? rows : std::min(rows, model.front_rows);
}

block_layout make_layout(const team &who, const dlrm_model &model, size_t rows) noexcept {
    const auto floats = [](size_t n) { return round_up(n * sizeof(float), 64); };
    const size_t front = floats(front_rows(who, model, rows) * model.vectors_ld), all = floats(rows * model.vectors_ld);
    block_layout at;
    at.top_x = model.is_dot() ? front : 0;
    at.crossed[0] = model.is_dot() ? front + floats(rows * model.top_ld) : all;
    at.crossed[1] = at.crossed[0] + (model.cross.size() > 0 ? all : 0);
    at.scratch = at.crossed[1] + (model.cross.size() > 1 ? all : 0);
    return at;
}

size_t block_bytes(const team &who, const dlrm_model &model, size_t rows) noexcept {
    size_t scratch = std::max(tower_bytes(who, model.bottom, rows), tower_bytes(who, model.top, rows));
    for (const ss1_tower &tower : model.cross) scratch = std::max(scratch, tower_bytes(who, tower, rows));
    return make_layout(who, model, rows).scratch + round_up(scratch, 64);
}

// The inputs of a run. A user's side that is given once is computed once and copied to all rows.
struct request {
    size_t batch;
    const float *dense;
    bool dense_once, user_once;
    bag_batch items, user;
};

bag_batch make_bags(std::span<const embedding_table> tables, const ss1_tensor &ids, const ss1_tensor &starts,
                    const ss1_tensor *factors, const dlrm_model &model, const char *prefix) noexcept {
    return {.tables = tables,
            .indices = static_cast<const int64_t *>(ids.data),
            .offsets = static_cast<const int64_t *>(starts.data),
            .weights = factors ? static_cast<const float *>(factors->data) : nullptr,
            .total = static_cast<size_t>(ids.shape[0]),
            .batch = static_cast<size_t>(starts.shape[1]),
            .d = model.config.embedding_dim,
            .prefix = prefix,
            .gate = &model.tables.gate};
}

request make_request(const dlrm_model &model, const tensor_list<const ss1_tensor> &inputs, size_t batch) noexcept {
    request r{};
    r.batch = batch;
    r.dense = static_cast<const float *>(inputs[dense_x]->data);
    r.dense_once = static_cast<size_t>(inputs[dense_x]->shape[0]) != batch;
    r.items = make_bags(model.tables.items, *inputs[indices], *inputs[offsets], inputs[weights], model, "");
    if (model.tables.users.empty()) return r;
    r.user = make_bags(model.tables.users, *inputs[user_indices], *inputs[user_offsets], inputs[user_weights], model,
                       "user_");
    r.user_once = r.user.batch != batch;
    return r;
}

// Bags that a task found to be bad. The caller, who sees all rows, reports the error.
struct bad_bags {
    std::atomic<bool> user{false}, items{false};
    bool any() const noexcept { return user.load(std::memory_order_relaxed) || items.load(std::memory_order_relaxed); }
};

// A worker of a run, which takes rows from lookup to top MLP.
struct rows_of_run {
    const dlrm_model &model;
    const request &r;
    const dlrm_activations &memory;
    const run_control &control;
    bad_bags &bad;
    row_worker &worker;
    block_layout at;
    size_t front_rows;

    float *floats(size_t offset) const noexcept { return reinterpret_cast<float *>(worker.memory + offset); }
};

ss1_status run_tower(const rows_of_run &w, const ss1_tower &tower, size_t m, const float *x, size_t ldx, float *y,
                     size_t ldy) {
    return tower_run(w.worker.who, tower, linear_args(m, x, ldx, y, ldy, w.worker.memory + w.at.scratch), &w.control);
}

// Writes the bags of rows [b0, b1) behind the bottom MLP's output.
bool look_up(const team &who, const dlrm_model &model, const bag_batch &bags, size_t b0, size_t b1, float *vectors) {
    return sum_bags(who, bags, b0, b1, vectors + model.config.embedding_dim, model.vectors_ld);
}

// Copies the vectors that all rows share into every row of the block, where they stay.
void copy_shared(const rows_of_run &w, size_t rows) noexcept {
    if (!w.r.dense_once && !w.r.user_once) return;
    const size_t ld = w.model.vectors_ld;
    for (size_t i = 0; i < rows; ++i) std::copy_n(w.memory.shared, ld, w.floats(0) + i * ld);
}

// Takes rows [m0, m1), at most front_rows, from lookup to their vectors, and to the dot interaction at `x`.
ss1_status run_front(const rows_of_run &w, size_t m0, size_t m1, float *vectors, float *x) {
    const dlrm_model &model = w.model;
    const team &who = w.worker.who;
    const size_t D = model.config.dense_features.size(), d = model.config.embedding_dim;
    if (!look_up(who, model, w.r.items, m0, m1, vectors)) w.bad.items.store(true, std::memory_order_relaxed);
    if (w.r.user.batch && !w.r.user_once && !look_up(who, model, w.r.user, m0, m1, vectors))
        w.bad.user.store(true, std::memory_order_relaxed);
    w.worker.clock.lap(dlrm_stage::lookup);
    if (w.control.given_up()) return SS1_OK;
    if (!w.r.dense_once) SS1_TRY(run_tower(w, model.bottom, m1 - m0, w.r.dense + m0 * D, D, vectors, model.vectors_ld));
    w.worker.clock.lap(dlrm_stage::bottom);
    if (!model.is_dot() || w.control.given_up()) return SS1_OK;
    interact(who, *model.interact,
             {.t = vectors,
              .z = x + d,
              .batch = m1 - m0,
              .f = model.config.tables.size() + 1,
              .d = d,
              .ldt = model.vectors_ld,
              .ldz = model.top_ld,
              .itself = model.config.interaction_itself});
    w.worker.clock.lap(dlrm_stage::interaction);
    return SS1_OK;
}

// x_{l+1} = x_0 * (W_l V_l x_l + b_l) + x_l. `x` is x_0 and becomes the last one.
ss1_status run_cross_net(const rows_of_run &w, size_t m, const float *&x) {
    const dlrm_model &model = w.model;
    const size_t ld = model.vectors_ld, n = model.config.interaction_width();
    const float *x0 = x;
    for (size_t l = 0; l < model.cross.size() && !w.control.given_up(); ++l) {
        float *y = w.floats(w.at.crossed[l % 2]);
        SS1_TRY(run_tower(w, model.cross[l], m, x, ld, y, ld));
        cross(w.worker.who, *model.cross_step,
              {.y = y, .x0 = x0, .x = x, .m = m, .n = n, .ldy = ld, .ldx0 = ld, .ldx = ld});
        x = y;
    }
    return SS1_OK;
}

void finish_rows(const dlrm_model &model, const dlrm_activations &memory, size_t m0, size_t m1) noexcept {
    float *p = memory.probability;
    std::copy(memory.logits + m0, memory.logits + m1, p + m0);
    model.sigmoid->run({.y = p + m0, .m = 1, .n = m1 - m0, .ldy = m1 - m0});
    const double t = model.config.loss_threshold;
    if (!(t > 0)) return;
    const auto low = static_cast<float>(t), high = static_cast<float>(1 - t);
    for (size_t i = m0; i < m1; ++i) p[i] = p[i] < low ? low : p[i] > high ? high : p[i];  // NaN stays
}

// Takes a block of rows [m0, m1) through the whole graph.
ss1_status run_block(const rows_of_run &w, size_t m0, size_t m1) {
    const dlrm_model &model = w.model;
    float *vectors = w.floats(0), *top_x = w.floats(w.at.top_x);
    SS1_TRY(for_blocks(0, m1 - m0, round_up(w.front_rows, row_group), [&](size_t begin, size_t end) {
        if (w.control.given_up()) return SS1_OK;
        float *v = model.is_dot() ? vectors : vectors + begin * model.vectors_ld;
        return run_front(w, m0 + begin, m0 + end, v, top_x + begin * model.top_ld);
    }));
    if (w.bad.any() || w.control.given_up()) return SS1_OK;
    const float *x = top_x;
    SS1_TRY(run_cross_net(w, m1 - m0, x));
    w.worker.clock.lap(dlrm_stage::interaction);
    if (w.control.given_up()) return SS1_OK;
    SS1_TRY(run_tower(w, model.top, m1 - m0, x, model.top_ld, w.memory.logits + m0, 1));
    finish_rows(model, w.memory, m0, m1);
    w.worker.clock.lap(dlrm_stage::top);
    return SS1_OK;
}

// Computes the vectors of a user's side that is given once.
ss1_status run_shared(const dlrm_model &model, const request &r, const dlrm_activations &memory, const model_run &run) {
    stage_clock clock(run.stage_seconds);
    if (r.user_once && !look_up(run.context, model, r.user, 0, 1, memory.shared)) return find_bad_bag(r.user);
    clock.lap(dlrm_stage::lookup);
    if (r.dense_once && !run.control.given_up()) {
        const size_t D = model.config.dense_features.size();
        SS1_TRY(tower_run(run.all(), model.bottom,
                          linear_args(1, r.dense, D, memory.shared, model.vectors_ld, memory.memory), &run.control));
    }
    clock.lap(dlrm_stage::bottom);
    return SS1_OK;
}

ss1_status run_graph(const dlrm_model &model, const request &r, const dlrm_activations &memory, const model_run &run) {
    const row_graph graph = graph_of(run.all(), model);
    const size_t lookups = r.items.total + (r.user_once ? 0 : r.user.total);
    const size_t tasks = row_tasks(graph, r.batch, [&] { return graph_ns(model, r.batch, lookups); });
    const stage_times times = {memory.task_seconds, run.stage_seconds, n_dlrm_stages};
    const auto bytes = [&](const team &who, size_t rows) { return block_bytes(who, model, rows); };
    bad_bags bad;
    SS1_TRY(
        run_rows(graph, r.batch, tasks, memory.memory, times, bytes, [&](row_worker &worker, size_t begin, size_t end) {
            const size_t rows = std::min(end - begin, worker.block_rows);
            const rows_of_run w = {.model = model,
                                   .r = r,
                                   .memory = memory,
                                   .control = run.control,
                                   .bad = bad,
                                   .worker = worker,
                                   .at = make_layout(worker.who, model, rows),
                                   .front_rows = front_rows(worker.who, model, rows)};
            copy_shared(w, model.is_dot() ? w.front_rows : rows);
            return for_blocks(begin, end, worker.block_rows,
                              [&](size_t m0, size_t m1) { return run_block(w, m0, m1); });
        }));
    return bad.user ? find_bad_bag(r.user) : bad.items ? find_bad_bag(r.items) : SS1_OK;
}

}  // namespace

dlrm_activations carve(const ss1_context &context, const dlrm_model &model, const session_bounds &bounds,
                       carver &memory) noexcept {
    dlrm_activations a;
    a.logits = memory.take<float>(bounds.max_batch, 1);
    a.probability = memory.take<float>(bounds.max_batch, 1);
    a.shared = memory.take<float>(1, model.vectors_ld);
    a.task_seconds = memory.take<double>(context.num_threads, n_dlrm_stages);
    const auto bytes = [&](const team &who, size_t rows) { return block_bytes(who, model, rows); };
    const team all(context, bounds.observer);
    const size_t blocks = row_memory(graph_of(all, model), bounds.max_batch, bytes);
    // The bottom MLP runs alone where all rows share the dense features.
    a.memory = memory.take<char>(std::max(blocks, tower_bytes(all, model.bottom, 1)), 1);
    return a;
}

ss1_status run(const dlrm_model &model, const dlrm_activations &memory, model_run &run) {
    const request r = make_request(model, run.inputs, run.size.batch);
    SS1_TRY(run_shared(model, r, memory, run));
    SS1_TRY(run.control.check());
    SS1_TRY(run_graph(model, r, memory, run));
    SS1_TRY(run.control.check());
    run.outputs.results = {memory.probability, memory.logits};
    return SS1_OK;
}

}  // namespace ss1
