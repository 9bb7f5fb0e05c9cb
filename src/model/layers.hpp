// SPDX-License-Identifier: Apache-2.0
// The linear layers of a model, loaded from its directory, and what both families do with them.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/model_directory.hpp"
#include "op/linear.hpp"

namespace ss1 {

struct named_layer {
    std::string name;
    std::unique_ptr<ss1_layer> layer;
    bool has_bias;
};

// Loads one layer, tied or dense as the configuration says, with `activation` fused.
ss1_status load_layer(ss1_context &context, const model_directory &from, const linear_shape &shape,
                      ss1_activation activation, named_layer &out);

// BYTES of scratch that serve every layer for up to `rows` rows: a layer's need never falls with more rows.
size_t layer_scratch(std::span<const named_layer> layers, size_t rows) noexcept;

// Leading dimension of activations n wide: whole cache lines, and one more, since rows at a power of two (1024 floats)
// would meet in the same L1 sets: 14 rows of a GEMM panel against 12 ways.
constexpr size_t row_stride(size_t n) noexcept {
    return (n + 15) / 16 * 16 + 16;
}

}  // namespace ss1
