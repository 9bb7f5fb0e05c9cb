// SPDX-License-Identifier: Apache-2.0
// How the rows of a DLRM's run are cut, and what becomes of a row block on its way from lookup to top MLP.
#include <atomic>

#include "base/stage_clock.hpp"
#include "model/dlrm.hpp"
#include "op/interaction.hpp"

namespace ss1 {
namespace {

constexpr size_t chunk = 4096;  // rows at a time, stage by stage

size_t round_up(size_t a, size_t b) {
    return (a + b - 1) / b * b;
}

// ------------------------------------------------------------------------------------------------------- memory, tasks

bool on_cpu(const dlrm_model &model) noexcept {
    return model.bottom.on_cpu && model.top.on_cpu &&
           std::ranges::all_of(model.cross, [](const ss1_tower &tower) { return tower.on_cpu; });
}

// Tasks that each take their rows from lookup to top; 0: all rows go stage by stage, and a stage is cut into tasks.
size_t graph_tasks(const ss1_context &context, const dlrm_model &model, size_t m, size_t lookups) noexcept {
    constexpr size_t lookup_bytes_a_ns = 5;  // of rows that lie anywhere in memory
    if (!on_cpu(model)) return 0;
    uint64_t ns = tower_ns(model.bottom, m) + tower_ns(model.top, m);
    ns += lookups * model.config.embedding_dim * sizeof(float) / lookup_bytes_a_ns;
    for (const ss1_tower &tower : model.cross) ns += tower_ns(tower, m);
    return row_tasks(context, m, ns);
}

// Memory of one task, or of all stages, for blocks of up to `rows` rows: bytes from its start.
struct block_layout {
    size_t top_x = 0, crossed[2] = {}, scratch = 0, total = 0;  // the vectors come first
    size_t rows, front_rows;
};

block_layout make_layout(const dlrm_model &model, size_t rows, bool alone) noexcept {
    block_layout at;
    at.rows = alone ? std::min(rows, model.row_block) : rows;
    at.front_rows = alone ? std::min(rows, model.front_rows) : rows;
    const auto floats = [](size_t n) { return round_up(n * sizeof(float), 64); };
    const size_t vectors = floats((model.is_dot() ? at.front_rows : at.rows) * model.vectors_ld);
    at.top_x = model.is_dot() ? vectors : 0;
    at.crossed[0] = vectors + (model.is_dot() ? floats(at.rows * model.top_ld) : 0);
    at.crossed[1] = at.crossed[0] + (model.cross.size() > 0 ? floats(at.rows * model.vectors_ld) : 0);
    at.scratch = at.crossed[1] + (model.cross.size() > 1 ? floats(at.rows * model.vectors_ld) : 0);
    const auto bytes = [&](const ss1_tower &tower) {
        return alone ? tower_task_bytes(tower, at.rows) : tower_scratch(tower, at.rows);
    };
    size_t scratch = std::max(bytes(model.bottom), bytes(model.top));
    for (const ss1_tower &tower : model.cross) scratch = std::max(scratch, bytes(tower));
    at.total = at.scratch + round_up(scratch, 64);
    return at;
}

// The most that any number of rows up to m takes.
size_t task_memory(const ss1_context &context, const dlrm_model &model, size_t m) noexcept {
    const size_t threads = context.num_threads;
    m = std::min(m, std::max(threads * model.row_block, chunk));  // beyond, every task has a whole block
    size_t most = tower_scratch(model.bottom, 1);                 // of what all rows share
    const bool cpu = on_cpu(model);
    if (!cpu || threads > 1)
        most = std::max(most, make_layout(model, std::min(m, cpu ? threads * row_panel : chunk), false).total);
    for (size_t tasks = 1; cpu && tasks <= threads; ++tasks)
        most = std::max(most, tasks * make_layout(model, longest_part(m, tasks), true).total);
    return most;
}

// ----------------------------------------------------------------------------------------------------------------- run

// A run's inputs. Where the user's side is given once, its vectors are computed once and copied to all rows.
struct request {
    size_t batch;
    const float *dense;
    bool dense_once, user_once;
    bag_batch items, user;
};

bag_batch make_bags(std::span<const embedding_table> tables, const ss1_tensor &ids, const ss1_tensor &starts,
                    const ss1_tensor *factors, size_t d, const char *prefix) noexcept {
    return {tables,
            static_cast<const int64_t *>(ids.data),
            static_cast<const int64_t *>(starts.data),
            factors ? static_cast<const float *>(factors->data) : nullptr,
            static_cast<size_t>(ids.shape[0]),
            static_cast<size_t>(starts.shape[1]),
            d,
            prefix};
}

request make_request(const dlrm_model &model, const tensor_list<const ss1_tensor> &inputs, size_t batch) noexcept {
    const size_t d = model.config.embedding_dim;
    request r{};
    r.batch = batch;
    r.dense = static_cast<const float *>(inputs[dense_x]->data);
    r.dense_once = static_cast<size_t>(inputs[dense_x]->shape[0]) != batch;
    r.items = make_bags(model.tables.items, *inputs[indices], *inputs[offsets], inputs[weights], d, "");
    if (model.tables.users.empty()) return r;
    r.user =
        make_bags(model.tables.users, *inputs[user_indices], *inputs[user_offsets], inputs[user_weights], d, "user_");
    r.user_once = r.user.batch != batch;
    return r;
}

// One part of a run's rows. `alone`: one task of several, on its own thread; otherwise each stage is cut into tasks.
struct worker {
    const ss1_context &context;
    const dlrm_model &model;
    const request &r;
    const dlrm_activations &memory;
    const run_control &control;
    block_layout at;
    char *base;
    bool alone;
    stage_clock clock;
    bool user_valid = true, items_valid = true;

    float *floats(size_t offset) const noexcept { return reinterpret_cast<float *>(base + offset); }
};

ss1_status run_tower(worker &w, const ss1_tower &tower, size_t m, const float *x, size_t ldx, float *y, size_t ldy) {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    args.ldy = ldy;
    args.scratch = w.base + w.at.scratch;
    if (!w.alone) return tower_run(tower, args, &w.control);
    tower_run_rows(tower, args, 0, m, w.at.total - w.at.scratch, &w.control);
    return SS1_OK;
}

// The bags of rows [b0, b1) go behind the bottom MLP's output.
bool look_up(const worker &w, const bag_batch &bags, size_t b0, size_t b1, float *vectors) {
    float *y = vectors + w.model.config.embedding_dim;
    return w.alone ? sum_bags_here(bags, b0, b1, y, w.model.vectors_ld)
                   : sum_bags(w.context, bags, b0, b1, y, w.model.vectors_ld);
}

// What is in the vectors of all rows, and stays there.
void copy_shared(const worker &w) noexcept {
    if (!w.r.dense_once && !w.r.user_once) return;
    const size_t rows = w.model.is_dot() ? w.at.front_rows : w.at.rows, ld = w.model.vectors_ld;
    for (size_t i = 0; i < rows; ++i) std::copy_n(w.memory.shared, ld, w.floats(0) + i * ld);
}

// Rows [m0, m1), at most at.front_rows, from lookup to their vectors, and to the dot interaction at `x`.
ss1_status run_front(worker &w, size_t m0, size_t m1, float *vectors, float *x) {
    const dlrm_model &model = w.model;
    const size_t D = model.config.dense_features.size(), d = model.config.embedding_dim;
    w.items_valid &= look_up(w, w.r.items, m0, m1, vectors);
    if (w.r.user.batch && !w.r.user_once) w.user_valid &= look_up(w, w.r.user, m0, m1, vectors);
    w.clock.lap(dlrm_stage::lookup);
    if (w.control.given_up()) return SS1_OK;
    if (!w.r.dense_once) SS1_TRY(run_tower(w, model.bottom, m1 - m0, w.r.dense + m0 * D, D, vectors, model.vectors_ld));
    w.clock.lap(dlrm_stage::bottom);
    if (!model.is_dot() || w.control.given_up()) return SS1_OK;
    const interact_args args = {vectors,
                                x + d,
                                m1 - m0,
                                model.config.tables.size() + 1,
                                d,
                                model.vectors_ld,
                                model.top_ld,
                                model.config.interaction_itself};
    if (w.alone) {
        interact_here(*model.interact, args);
    } else {
        interact(w.context, *model.interact, args);
    }
    w.clock.lap(dlrm_stage::interaction);
    return SS1_OK;
}

// x_{l+1} = x_0 * (W_l V_l x_l + b_l) + x_l. `x` is x_0 and becomes the last one.
ss1_status run_cross_net(worker &w, size_t m, const float *&x) {
    const dlrm_model &model = w.model;
    const size_t ld = model.vectors_ld, n = model.config.interaction_width();
    const float *x0 = x;
    for (size_t l = 0; l < model.cross.size() && !w.control.given_up(); ++l) {
        float *y = w.floats(w.at.crossed[l % 2]);
        SS1_TRY(run_tower(w, model.cross[l], m, x, ld, y, ld));
        const cross_args args = {y, x0, x, m, n, ld, ld, ld};
        if (w.alone) {
            model.cross_step->run(args);
        } else {
            cross(w.context, *model.cross_step, args);
        }
        x = y;
    }
    return SS1_OK;
}

void finish_rows(const dlrm_model &model, const dlrm_activations &memory, size_t m0, size_t m1) noexcept {
    float *p = memory.probability;
    std::copy(memory.logits + m0, memory.logits + m1, p + m0);
    model.sigmoid->run({p + m0, 1, m1 - m0, m1 - m0});
    const double t = model.config.loss_threshold;
    if (!(t > 0)) return;
    const auto low = static_cast<float>(t), high = static_cast<float>(1 - t);
    for (size_t i = m0; i < m1; ++i) p[i] = p[i] < low ? low : p[i] > high ? high : p[i];  // NaN stays
}

// Rows [m0, m1), at most at.rows, through the whole graph.
ss1_status run_block(worker &w, size_t m0, size_t m1) {
    const dlrm_model &model = w.model;
    float *vectors = w.floats(0), *top_x = w.floats(w.at.top_x);
    ss1_status status = SS1_OK;
    for_parts(m1 - m0, round_up(w.at.front_rows, row_group), [&](size_t begin, size_t end) {
        if (status != SS1_OK || w.control.given_up()) return;
        float *v = model.is_dot() ? vectors : vectors + begin * model.vectors_ld;
        status = run_front(w, m0 + begin, m0 + end, v, top_x + begin * model.top_ld);
    });
    SS1_TRY(status);
    // Whoever has all rows says what is wrong, or why the run ended.
    if (!w.user_valid || !w.items_valid || w.control.given_up()) return SS1_OK;
    const float *x = top_x;
    SS1_TRY(run_cross_net(w, m1 - m0, x));
    w.clock.lap(dlrm_stage::interaction);
    if (w.control.given_up()) return SS1_OK;
    SS1_TRY(run_tower(w, model.top, m1 - m0, x, model.top_ld, w.memory.logits + m0, 1));
    if (w.alone) {
        finish_rows(model, w.memory, m0, m1);
    } else {
        parallel(w.context, 1, [&](size_t) { finish_rows(model, w.memory, m0, m1); });
    }
    w.clock.lap(dlrm_stage::top);
    return SS1_OK;
}

// The vectors of a user's side that is given once.
ss1_status run_shared(worker &w) {
    if (w.r.user_once && !look_up(w, w.r.user, 0, 1, w.memory.shared)) return find_bad_bag(w.r.user);
    w.clock.lap(dlrm_stage::lookup);
    if (w.r.dense_once && !w.control.given_up()) {
        const size_t D = w.model.config.dense_features.size();
        SS1_TRY(run_tower(w, w.model.bottom, 1, w.r.dense, D, w.memory.shared, w.model.vectors_ld));
    }
    w.clock.lap(dlrm_stage::bottom);
    return SS1_OK;
}

ss1_status check_bags(const request &r, bool user_valid, bool items_valid) {
    return !user_valid ? find_bad_bag(r.user) : !items_valid ? find_bad_bag(r.items) : SS1_OK;
}

// All rows stage by stage.
ss1_status run_stages(const ss1_context &context, const dlrm_model &model, const request &r,
                      const dlrm_activations &memory, const run_control &control) {
    const block_layout at = make_layout(model, std::min(r.batch, chunk), false);
    worker w = {context, model, r, memory, control, at, memory.memory, false, stage_clock(memory.stage_seconds)};
    copy_shared(w);
    for (size_t m = 0; m < r.batch; m += chunk) SS1_TRY(run_block(w, m, std::min(r.batch, m + chunk)));
    return check_bags(r, w.user_valid, w.items_valid);
}

// Rows split among tasks, which take them from lookup to top.
ss1_status run_tasks(const ss1_context &context, const dlrm_model &model, const request &r,
                     const dlrm_activations &memory, const run_control &control, size_t tasks) {
    const block_layout at = make_layout(model, longest_part(r.batch, tasks), true);
    std::atomic<bool> user_valid{true}, items_valid{true};
    if (memory.stage_seconds) std::fill_n(memory.task_seconds, tasks * n_dlrm_stages, 0.0);
    parallel(context, tasks, [&](size_t task) {
        double *seconds = memory.stage_seconds ? memory.task_seconds + task * n_dlrm_stages : nullptr;
        worker w = {
            context, model, r, memory, control, at, memory.memory + task * at.total, true, stage_clock(seconds)};
        copy_shared(w);
        const size_t begin = part_begin(r.batch, tasks, task), end = part_begin(r.batch, tasks, task + 1);
        for_parts(end - begin, model.row_block, [&](size_t m0, size_t m1) { run_block(w, begin + m0, begin + m1); });
        if (!w.user_valid) user_valid.store(false, std::memory_order_relaxed);
        if (!w.items_valid) items_valid.store(false, std::memory_order_relaxed);
    });
    if (memory.stage_seconds) add_slowest(memory.task_seconds, tasks, n_dlrm_stages, memory.stage_seconds);
    return check_bags(r, user_valid.load(), items_valid.load());
}

}  // namespace

dlrm_activations carve(const ss1_context &context, const dlrm_model &model, const session_bounds &bounds,
                       carver &memory) noexcept {
    dlrm_activations a;
    a.logits = memory.take<float>(bounds.max_batch, 1);
    a.probability = memory.take<float>(bounds.max_batch, 1);
    a.shared = memory.take<float>(1, model.vectors_ld);
    a.task_seconds = memory.take<double>(context.num_threads, n_dlrm_stages);
    a.memory = memory.take<char>(task_memory(context, model, bounds.max_batch), 1);
    a.stage_seconds = nullptr;
    return a;
}

ss1_status run(const ss1_context &context, const dlrm_model &model, const dlrm_activations &memory,
               const run_control &control, const tensor_list<const ss1_tensor> &inputs, const run_size &size,
               run_outputs &outputs) {
    const request r = make_request(model, inputs, size.batch);
    worker shared = {context, model, r, memory, control, {}, memory.memory, false, stage_clock(memory.stage_seconds)};
    SS1_TRY(run_shared(shared));
    SS1_TRY(control.check());
    const size_t tasks = graph_tasks(context, model, size.batch, r.items.total + (r.user_once ? 0 : r.user.total));
    SS1_TRY(tasks ? run_tasks(context, model, r, memory, control, tasks)
                  : run_stages(context, model, r, memory, control));
    SS1_TRY(control.check());
    outputs.results = {memory.probability, memory.logits};
    return SS1_OK;
}

}  // namespace ss1
