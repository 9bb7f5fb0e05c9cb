// SPDX-License-Identifier: Apache-2.0
#include "op/tower.hpp"

#include <algorithm>

#include "base/run_control.hpp"
#include "op/backend.hpp"
#include "op/linear_cpu.hpp"
#include "op/split.hpp"

namespace ss1 {
namespace {

constexpr size_t most_rows = 256;  // of a block: beyond, a row of weights from L3 is shared by enough rows
constexpr size_t chunk = 4096;     // rows at a time, layer by layer
constexpr size_t usual_l2 = size_t{2} << 20;

size_t round_up(size_t a, size_t b) {
    return (a + b - 1) / b * b;
}

const linear &state_of(const ss1_layer &layer) noexcept {
    return *static_cast<const linear *>(layer.state);
}

size_t y_size(const ss1_layer &layer) noexcept {
    return size_of(static_cast<dtype>(layer.desc.y_dtype));
}

// Tasks that split the rows; 0: too few rows for all threads, which split the outputs of a layer, too.
size_t tower_tasks(const ss1_tower &tower, size_t m) noexcept {
    if (!tower.on_cpu) return 0;
    return row_tasks(*tower.context, m, tower_ns(tower, m));
}

// Up to `m` rows at once, layer by layer.
size_t chunk_bytes(const ss1_tower &tower, size_t m) noexcept {
    size_t layer_bytes = 0;
    for (const ss1_layer *layer : tower.layers)
        layer_bytes = std::max(layer_bytes, layer->backend->layer_scratch(layer->state, m));
    return round_up(layer_bytes, 64) + 2 * m * tower.hidden_row_bytes;
}

// All layers for `rows` rows; `run(layer, args)` does one. Outputs between layers lie in `hidden`, in two halves by
// turns.
template <class F>
ss1_status run_layers(const ss1_tower &tower, const ss1_linear_args &args, size_t m0, size_t rows, char *hidden,
                      void *scratch, const run_control *control, F &&run) noexcept {
    const size_t n = tower.layers.size(), half = rows * tower.hidden_row_bytes;
    const ss1_linear_desc &first = tower.layers[0]->desc;
    ss1_linear_args a = args;
    a.m = rows;
    a.scratch = scratch;
    a.x = static_cast<const char *>(args.x) + m0 * args.ldx * size_of(static_cast<dtype>(first.x_dtype));
    for (size_t i = 0; i < n; ++i) {
        if (control && control->given_up()) return SS1_OK;
        const bool last = i + 1 == n;
        a.y = last ? static_cast<char *>(args.y) + m0 * args.ldy * y_size(*tower.layers[i]) : hidden + i % 2 * half;
        a.ldy = last ? args.ldy : tower.hidden_ld[i];
        SS1_TRY(run(*tower.layers[i], a));
        a.x = a.y;
        a.ldx = a.ldy;
    }
    return SS1_OK;
}

}  // namespace

ss1_status tower_create(const ss1_layer *const *layers, size_t n, ss1_tower &tower) {
    tower.context = layers[0]->context;
    tower.layers.assign(layers, layers + n);
    tower.on_cpu = true;
    for (size_t i = 0; i < n; ++i) {
        const ss1_layer *layer = layers[i];
        tower.on_cpu = tower.on_cpu && layer->backend == &cpu_backend;
        // Rows a cache line apart from a power of two, whose rows would meet in a few sets of L1.
        const size_t size = y_size(*layer), bytes = round_up(layer->desc.N * size, 64) + 64;
        tower.hidden_ld.push_back(bytes / size);
        if (i + 1 < n) tower.hidden_row_bytes = std::max(tower.hidden_row_bytes, bytes);
    }
    // Inputs and outputs of a layer in half of L2; weights and the sketch want the rest.
    const size_t l2 = tower.context->caches.l2 ? tower.context->caches.l2 : usual_l2;
    const size_t rows = tower.hidden_row_bytes ? l2 / 2 / (2 * tower.hidden_row_bytes) : most_rows;
    tower.row_block = std::clamp<size_t>(rows / row_panel * row_panel, row_panel, most_rows);
    return SS1_OK;
}

uint64_t tower_ns(const ss1_tower &tower, size_t m) noexcept {
    uint64_t ns = 0;
    for (const ss1_layer *layer : tower.layers) ns += linear_ns(state_of(*layer), m);
    return ns;
}

size_t row_tasks(const ss1_context &context, size_t m, uint64_t ns) noexcept {
    const size_t wanted = linear_most_tasks(context, ns);
    return wanted == 1 || m / row_panel >= wanted ? wanted : 0;
}

size_t tower_task_bytes(const ss1_tower &tower, size_t rows) noexcept {
    rows = std::min(rows, tower.row_block);
    size_t layer_bytes = 0;
    for (const ss1_layer *layer : tower.layers)
        layer_bytes = std::max(layer_bytes, linear_task_bytes(state_of(*layer), rows));
    return round_up(layer_bytes, 64) + 2 * rows * tower.hidden_row_bytes;
}

void tower_run_rows(const ss1_tower &tower, const ss1_linear_args &args, size_t m0, size_t m1, size_t bytes,
                    const run_control *control) noexcept {
    char *scratch = static_cast<char *>(args.scratch);
    // The weights are read once for each block.
    for_parts(m1 - m0, tower.row_block, [&](size_t begin, size_t end) {
        const size_t rows = end - begin;
        run_layers(tower, args, m0 + begin, rows, scratch + bytes - 2 * rows * tower.hidden_row_bytes, scratch, control,
                   [](const ss1_layer &layer, const ss1_linear_args &a) {
                       linear_run_rows(state_of(layer), a, 0, a.m, a.scratch);
                       return SS1_OK;
                   });
    });
}

ss1_status tower_run(const ss1_tower &tower, const ss1_linear_args &args, const run_control *control) noexcept {
    const size_t tasks = tower_tasks(tower, args.m);
    char *scratch = static_cast<char *>(args.scratch);
    if (tasks == 0) {
        const size_t rows = std::min(args.m, chunk);
        const size_t hidden = chunk_bytes(tower, rows) - 2 * rows * tower.hidden_row_bytes;
        for (size_t m = 0; m < args.m; m += chunk)
            SS1_TRY(run_layers(tower, args, m, std::min(chunk, args.m - m), scratch + hidden, scratch, control,
                               [](const ss1_layer &layer, const ss1_linear_args &a) { return layer_run(layer, a); }));
        return SS1_OK;
    }
    const size_t bytes = tower_task_bytes(tower, longest_part(args.m, tasks));
    parallel(*tower.context, tasks, [&](size_t task) {
        ss1_linear_args a = args;
        a.scratch = scratch + task * bytes;
        tower_run_rows(tower, a, part_begin(args.m, tasks, task), part_begin(args.m, tasks, task + 1), bytes, control);
    });
    return SS1_OK;
}

size_t tower_scratch(const ss1_tower &tower, size_t m) noexcept {
    if (m == 0) return 0;
    // The most that any number of rows up to m takes: fewer rows may be split among fewer tasks or go layer by layer.
    const size_t threads = tower.context->num_threads;
    m = std::min(m, std::max(threads * most_rows, chunk));  // beyond, every task has a whole block
    size_t most = 0;
    if (!tower.on_cpu || threads > 1)
        most = chunk_bytes(tower, std::min(m, tower.on_cpu ? threads * row_panel : chunk));
    for (size_t tasks = 1; tower.on_cpu && tasks <= threads; ++tasks)
        most = std::max(most, tasks * tower_task_bytes(tower, longest_part(m, tasks)));
    return most;
}

}  // namespace ss1
