// SPDX-License-Identifier: Apache-2.0
// A tower: linear layers one behind the other, run row block by row block, so that what is between them stays in L2.
#pragma once
#include <vector>

#include "op/linear.hpp"

struct ss1_tower {
    ss1::context_ref context;
    std::vector<const ss1_layer *> layers;  // at least one; outputs of each are the inputs of the next
    bool on_cpu = false;                    // all of them: others run layer by layer
    size_t row_block = 0;                   // rows whose activations fit in L2
    std::vector<size_t> hidden_ld;          // of layer i's output, elements
    size_t hidden_row_bytes = 0;            // of the widest
};

namespace ss1 {

class run_control;

// Layers of one context that outlive the tower.
ss1_status tower_create(const ss1_layer *const *layers, size_t n, ss1_tower &tower);

// x of the first layer, y of the last; with checked arguments and scratch. A tower of several layers has no residual.
// A run that is given up (`control`, NULL: never) ends before its next layer, its outputs not written; whoever began it
// says why.
ss1_status tower_run(const ss1_tower &tower, const ss1_linear_args &args, const run_control *control) noexcept;
size_t tower_scratch(const ss1_tower &tower, size_t m) noexcept;  // for up to m rows

// For graphs that cut their rows themselves; on_cpu only. Rows [m0, m1) on the calling thread with `bytes` of scratch,
// at least tower_task_bytes() of as many rows, which grows with them up to a bound.
void tower_run_rows(const ss1_tower &tower, const ss1_linear_args &args, size_t m0, size_t m1, size_t bytes,
                    const run_control *control) noexcept;
size_t tower_task_bytes(const ss1_tower &tower, size_t rows) noexcept;
uint64_t tower_ns(const ss1_tower &tower, size_t m) noexcept;  // about, on one thread

// Tasks that split m rows which take so many ns on one thread; 0: too few rows for all threads, which better split the
// outputs of a layer, too.
size_t row_tasks(const ss1_context &context, size_t m, uint64_t ns) noexcept;

}  // namespace ss1
