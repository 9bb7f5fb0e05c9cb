// SPDX-License-Identifier: Apache-2.0
#include "op/tower.hpp"

#include <algorithm>

#include "base/round.hpp"
#include "base/run_control.hpp"

namespace ss1 {
namespace {

constexpr size_t most_rows = 256;  // of a block: beyond, enough rows share each weight that comes from L3

size_t y_size(const ss1_layer &layer) noexcept {
    return size_of(static_cast<dtype>(layer.desc.y_dtype));
}

row_graph graph_of(const team &all, const ss1_tower &tower) noexcept {
    return {.all = all, .on_one_thread = tower.on_one_thread, .block_rows = tower.row_block, .least_rows = row_panel};
}

// BYTES that `rows` rows at a time take: two halves for the values between layers, then the scratch of a layer.
size_t block_bytes(const team &who, const ss1_tower &tower, size_t rows) noexcept {
    size_t scratch = 0;
    for (const ss1_layer *layer : tower.layers) scratch = std::max(scratch, layer_bytes(who, *layer, rows));
    return 2 * rows * tower.hidden_row_bytes + round_up(scratch, 64);
}

// All layers for rows [m0, m1). Each layer reads one half of the values between layers and writes the other.
ss1_status run_layers(const team &who, const ss1_tower &tower, const ss1_linear_args &all, size_t m0, size_t m1,
                      char *memory, const run_control *control) {
    const size_t n = tower.layers.size(), half = (m1 - m0) * tower.hidden_row_bytes;
    const size_t x_size = size_of(static_cast<dtype>(tower.layers[0]->desc.x_dtype));
    ss1_linear_args args = all;
    args.m = m1 - m0;
    args.scratch = memory + 2 * half;
    args.x = static_cast<const char *>(all.x) + m0 * all.ldx * x_size;
    for (size_t i = 0; i < n; ++i) {
        if (control && control->given_up()) return SS1_OK;
        const bool last = i + 1 == n;
        args.y = last ? static_cast<char *>(all.y) + m0 * all.ldy * y_size(*tower.layers[i]) : memory + i % 2 * half;
        args.ldy = last ? all.ldy : tower.hidden_ld[i];
        SS1_TRY(layer_run(who, *tower.layers[i], args));
        args.x = args.y;
        args.ldx = args.ldy;
    }
    return SS1_OK;
}

}  // namespace

ss1_status tower_create(const ss1_layer *const *layers, size_t n, ss1_tower &tower) {
    tower.context = layers[0]->context;
    tower.layers.assign(layers, layers + n);
    tower.on_one_thread = std::all_of(layers, layers + n, [](const ss1_layer *l) { return runs_on_one_thread(*l); });
    for (size_t i = 0; i < n; ++i) {
        // Rows lie a cache line apart from a power of two, whose rows would share a few sets of L1.
        const size_t size = y_size(*layers[i]), bytes = round_up(layers[i]->desc.N * size, 64) + 64;
        tower.hidden_ld.push_back(bytes / size);
        if (i + 1 < n) tower.hidden_row_bytes = std::max(tower.hidden_row_bytes, bytes);
    }
    // Inputs and outputs of a layer take half of L2; weights and the sketch need the rest.
    const size_t l2 = tower.context->caches.l2_or_usual();
    const size_t rows = tower.hidden_row_bytes ? l2 / 2 / (2 * tower.hidden_row_bytes) : most_rows;
    tower.row_block = std::clamp<size_t>(rows / row_panel * row_panel, row_panel, most_rows);
    return SS1_OK;
}

uint64_t tower_ns(const ss1_tower &tower, size_t m) noexcept {
    uint64_t ns = 0;
    for (const ss1_layer *layer : tower.layers) ns += layer_ns(*layer, m);
    return ns;
}

size_t tower_bytes(const team &who, const ss1_tower &tower, size_t m) noexcept {
    if (!who.is_whole()) return block_bytes(who, tower, std::min(m, tower.row_block));
    return row_memory(graph_of(who, tower), m,
                      [&](const team &worker, size_t rows) { return block_bytes(worker, tower, rows); });
}

ss1_status tower_run(const team &who, const ss1_tower &tower, const ss1_linear_args &args, const run_control *control) {
    const auto run = [&](const row_worker &worker, size_t begin, size_t end) {
        return for_blocks(begin, end, worker.block_rows, [&](size_t m0, size_t m1) {
            return run_layers(worker.who, tower, args, m0, m1, worker.memory, control);
        });
    };
    char *memory = static_cast<char *>(args.scratch);
    if (!who.is_whole())
        return run({.who = who, .memory = memory, .block_rows = tower.row_block, .clock = stage_clock(nullptr)}, 0,
                   args.m);
    const row_graph graph = graph_of(who, tower);
    const size_t tasks = row_tasks(graph, args.m, [&] { return tower_ns(tower, args.m); });
    return run_rows(
        graph, args.m, tasks, memory, {},
        [&](const team &worker, size_t rows) { return block_bytes(worker, tower, rows); }, run);
}

}  // namespace ss1
