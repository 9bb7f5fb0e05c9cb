// SPDX-License-Identifier: Apache-2.0
// The linear layers of a model, loaded from its directory.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/round.hpp"
#include "io/model_directory.hpp"
#include "op/linear.hpp"

namespace ss1 {

struct named_layer {
    std::string name;
    std::shared_ptr<const ss1_layer> layer;  // neighbours that run as one layer share it
    ss1_layer_info info;                     // describes this layer alone: its own N, bytes and FLOPs
    bool has_bias;
};

// Returns K, N, mapping and weight_dtype of a layer, from the directory and the options of the load.
ss1_linear_desc desc_of(const model_directory &from, const linear_shape &shape);

// The stored weights of layers that run as one: z, u and bias stacked along N, v of the first (all are equal).
struct layer_weights {
    buffer z, bias, u, v;
};
// Reads them for equal `shapes` of the resolved `desc`.
ss1_status read_weights(const ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                        const ss1_linear_desc &desc, layer_weights &out);

// Types of a layer's x and y.
struct layer_types {
    ss1_dtype x = SS1_DTYPE_F32, y = SS1_DTYPE_F32;
};

// Appends layers that read the same x to `out`, tied or dense and in the type of the configuration, with `activation`
// fused. Equal ones, which also share V if they have a rank, run as one layer, which reads and sketches x and
// multiplies it by V once and gives the same bits.
ss1_status load_layers(ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                       ss1_activation activation, std::vector<named_layer> &out, layer_types types = {});

// Whether the weights are bf16 or int8. Such a layer may read bf16 without more rounding: it rounds its sketch to bf16
// or int8 anyway.
bool is_below_f32(const model_directory &from, const linear_shape &shape);

// Appends the layers of an MLP to `out`: `hidden` is the activation between them, `last` that of the last. Input and
// output are f32. A layer hands bf16 to the next where both have weights below f32: half the bytes between them.
ss1_status load_mlp(ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                    ss1_activation hidden, ss1_activation last, std::vector<named_layer> &out);

// BYTES of scratch that serve every layer for up to `rows` rows: a layer's need never falls with more rows.
size_t layer_scratch(const team &who, std::span<const named_layer> layers, size_t rows) noexcept;

// Leading dimension of activations n wide: whole cache lines, and one more, since rows at a power of two (1024 floats)
// would share L1 sets: 14 rows of a GEMM panel against 12 ways.
constexpr size_t row_stride(size_t n) noexcept {
    return round_up(n, 16) + 16;
}

}  // namespace ss1
