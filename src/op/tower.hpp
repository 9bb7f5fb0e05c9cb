// SPDX-License-Identifier: Apache-2.0
// A tower: a chain of linear layers that rows pass through block by block, so that the values between two layers stay
// in L2.
#pragma once
#include <vector>

#include "op/linear.hpp"
#include "op/row_executor.hpp"

struct ss1_tower {
    ss1::context_ref context;
    std::vector<const ss1_layer *> layers;  // at least one; outputs of each are the inputs of the next
    bool on_one_thread = false;             // all of them can run blocks of rows on one thread
    size_t row_block = 0;                   // rows whose activations fit in L2
    std::vector<size_t> hidden_ld;          // leading dimension of layer i's output, elements
    size_t hidden_row_bytes = 0;            // of the widest output between two layers, a multiple of 64
};

namespace ss1 {

class run_control;

// Layers of one context that outlive the tower.
ss1_status tower_create(const ss1_layer *const *layers, size_t n, ss1_tower &tower);

// x of the first layer, y of the last; with checked arguments and tower_bytes() of scratch. A tower of several layers
// has no residual. A run that gives up (`control`; NULL: never) ends before its next layer and leaves outputs
// unwritten: its caller says why.
ss1_status tower_run(const team &who, const ss1_tower &tower, const ss1_linear_args &args, const run_control *control);
// BYTES of scratch that serve up to m rows.
size_t tower_bytes(const team &who, const ss1_tower &tower, size_t m) noexcept;
uint64_t tower_ns(const ss1_tower &tower, size_t m) noexcept;  // about, on one thread

}  // namespace ss1
