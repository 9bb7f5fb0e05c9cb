// SPDX-License-Identifier: Apache-2.0
// One linear layer: a backend creates it, its vtable runs it. Models consist of these too.
#pragma once
#include <string>

#include "base/context.hpp"
#include "base/status.hpp"
#include "op/layer_observer.hpp"
#include "op/split.hpp"

struct ss1_layer {
    ss1::context_ref context;
    const ss1_backend *backend = nullptr;
    void *state = nullptr;
    ss1_linear_desc desc;  // resolved
    ss1_layer_info info;
    bool adds_residual = false;

    ss1_layer() = default;
    ss1_layer(const ss1_layer &) = delete;
    ss1_layer &operator=(const ss1_layer &) = delete;
    ~ss1_layer() {
        if (state) backend->layer_destroy(state);
    }
};

namespace ss1 {

// Checks the pointers and leading dimensions of the weights of `parts` layers of a resolved desc, see layer_create();
// replaces ldz = 0.
ss1_status linear_check_weights(const ss1_linear_desc &desc, size_t parts, ss1_linear_weights &weights) noexcept;

// Checks everything and creates the layer in the context's backend. `parts` layers of one desc, their z, u and bias
// stacked along N, their v the same, become one of parts * N outputs: each has the bits that it had alone, and x is
// read, sketched and multiplied by V once.
ss1_status layer_create(ss1_context &context, const ss1_linear_desc &desc, const ss1_linear_weights &weights,
                        ss1_layer **layer, size_t parts = 1);
// Whether the context's backend takes several parts of this resolved desc.
bool can_stack(const ss1_context &context, const ss1_linear_desc &desc, size_t parts) noexcept;

// Whether blocks of rows can run on one thread.
inline bool runs_on_one_thread(const ss1_layer &layer) noexcept {
    return layer.backend->rows_run != nullptr;
}
// BYTES of scratch for up to `rows` rows.
inline size_t layer_bytes(const team &who, const ss1_layer &layer, size_t rows) noexcept {
    return who.is_whole() ? layer.backend->layer_scratch(layer.state, rows)
                          : layer.backend->rows_scratch(layer.state, rows);
}
// About how long m rows take on one thread.
inline uint64_t layer_ns(const ss1_layer &layer, size_t m) noexcept {
    return layer.backend->rows_ns(layer.state, m);
}

// Runs with checked arguments and scratch that is there; the middle hop of the call path. in_groups: rows of x up to
// the next multiple of row_group may be read.
inline ss1_status layer_run(const team &who, const ss1_layer &layer, const ss1_linear_args &args,
                            bool in_groups = false) noexcept {
    if (who.is_whole()) {
        if (who.observer()) who.observer()->show(layer, layer.desc, args);
        return layer.backend->layer_run(layer.state, &args);
    }
    layer.backend->rows_run(layer.state, &args, in_groups);
    return SS1_OK;
}

// Arguments of a run on row-major x [m, ldx] and y [m, ldy] of the layer's types.
inline ss1_linear_args linear_args(size_t m, const void *x, size_t ldx, void *y, size_t ldy, void *scratch) noexcept {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    args.ldy = ldy;
    args.scratch = scratch;
    return args;
}

}  // namespace ss1
