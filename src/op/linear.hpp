// SPDX-License-Identifier: Apache-2.0
// One linear layer: created by a backend, run through its vtable. Models are made of these too.
#pragma once
#include <string>

#include "base/context.hpp"
#include "base/status.hpp"

struct ss1_layer {
    ss1::context_ref context;
    const ss1_backend *backend = nullptr;
    void *state = nullptr;
    ss1_linear_desc desc;  // resolved
    ss1_layer_info info;

    ss1_layer() = default;
    ss1_layer(const ss1_layer &) = delete;
    ss1_layer &operator=(const ss1_layer &) = delete;
    ~ss1_layer() {
        if (state) backend->layer_destroy(state);
    }
};

namespace ss1 {

// Checks everything and creates the layer in the context's backend. `parts` layers of one desc, their weights one
// behind the other, become one of parts * N outputs: each has the bits that it had alone, and x is read and sketched
// once.
ss1_status layer_create(ss1_context &context, const ss1_linear_desc &desc, const ss1_linear_weights &weights,
                        ss1_layer **layer, size_t parts = 1);
// Whether the context's backend takes several parts of this resolved desc.
bool can_stack(const ss1_context &context, const ss1_linear_desc &desc) noexcept;

// Runs with checked arguments and scratch that is there; the middle hop of the call path.
inline ss1_status layer_run(const ss1_layer &layer, const ss1_linear_args &args) noexcept {
    return layer.backend->layer_run(layer.state, &args);
}

// The same for models, whose buffers are their own: dense row-major x [m, ldx] to y [m, ldy], both f32.
inline ss1_status layer_run(const ss1_layer &layer, size_t m, const float *x, size_t ldx, float *y, size_t ldy,
                            void *scratch) noexcept {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    args.ldy = ldy;
    args.scratch = scratch;
    return m ? layer_run(layer, args) : SS1_OK;
}

}  // namespace ss1
