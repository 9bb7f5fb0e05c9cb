// SPDX-License-Identifier: Apache-2.0
#include "model/layers.hpp"

#include <algorithm>

#include "op/mapping.hpp"

namespace ss1 {

ss1_status load_layer(ss1_context &context, const model_directory &from, const linear_shape &shape,
                      ss1_activation activation, named_layer &out) {
    const auto tied = from.config.layers.find(shape.name);
    const bool is_tied = tied != from.config.layers.end();
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    if (is_tied) desc = tied->second;
    desc.K = shape.K;
    desc.N = shape.N;
    desc.activation = activation;
    size_t stored_columns = 0;
    SS1_TRY(linear_resolve(desc, &stored_columns));
    buffer z, bias;  // gone when the layer has packed them
    const size_t z_shape[] = {shape.N, stored_columns}, bias_shape[] = {shape.N};
    SS1_TRY(tensor_f32(context, from, shape.name + (is_tied ? ".ss1_weight" : ".weight"), z_shape, z));
    if (shape.has_bias) SS1_TRY(tensor_f32(context, from, shape.name + ".bias", bias_shape, bias));
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.as<float>();
    weights.bias = bias.as<float>();
    ss1_layer *layer = nullptr;
    SS1_TRY(layer_create(context, desc, weights, &layer));
    out = {shape.name, std::unique_ptr<ss1_layer>(layer), shape.has_bias};
    return SS1_OK;
}

size_t layer_scratch(std::span<const named_layer> layers, size_t rows) noexcept {
    size_t most = 0;
    for (const named_layer &l : layers) most = std::max(most, l.layer->backend->layer_scratch(l.layer->state, rows));
    return most;
}

}  // namespace ss1
