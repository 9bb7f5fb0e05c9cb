// SPDX-License-Identifier: Apache-2.0
// Shows the rows that each layer of a model is about to read to a caller's function.
#pragma once
#include <algorithm>
#include <vector>

#include "ss1/calibrate.h"

namespace ss1 {

// Layers of a model that run as one.
struct observed_layer {
    const ss1_layer *layer;
    size_t first, count;  // numbers of ss1_model_layer()
};

struct layer_observer {
    ss1_observe_fn observe;
    void *user;
    std::vector<observed_layer> layers;

    void show(const ss1_layer &layer, const ss1_linear_desc &desc, const ss1_linear_args &args) const noexcept {
        const auto found = std::ranges::find(layers, &layer, &observed_layer::layer);
        ss1_layer_rows rows = SS1_LAYER_ROWS_INIT;
        rows.first_layer = found->first;
        rows.n_layers = found->count;
        rows.x_dtype = desc.x_dtype;
        rows.m = args.m;
        rows.K = desc.K;
        rows.ldx = args.ldx;
        rows.x = args.x;
        observe(user, &rows);
    }
};

}  // namespace ss1
