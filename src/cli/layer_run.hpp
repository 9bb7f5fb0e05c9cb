// SPDX-License-Identifier: Apache-2.0
// Runs and times layers as models run them.
#pragma once
#include <span>
#include <vector>

#include "apps/handles.hpp"

namespace ss1::cli {

// Weights of equal layers, one after the other; a layer with a rank and no tied part has the V of all.
struct stacked_weights {
    std::span<const float> z, u, v;
};

// Runs `parts` layers on `m` rows x: y [m, parts * N].
std::vector<float> run_stacked(const apps::context_handle &context, const ss1_linear_desc &desc, size_t parts,
                               const stacked_weights &weights, std::span<const float> x, size_t m);

// The microseconds (fastest tenth) that `parts` equal layers of each desc take for m rows, all descs in turn, with
// random weights. A layer that a run would expand to a dense one takes infinitely long, unless it is the first.
std::vector<double> time_layers(const apps::context_handle &context, std::span<const ss1_linear_desc> descs,
                                size_t parts, size_t m);

}  // namespace ss1::cli
