// SPDX-License-Identifier: Apache-2.0
#include "model/layers.hpp"

#include <algorithm>

#include "op/mapping.hpp"

namespace ss1 {
namespace {

// What the directory says about a layer: K, N, mapping and weight_dtype.
ss1_linear_desc desc_of(const model_directory &from, const linear_shape &shape) {
    const auto config = from.config.layers.find(shape.name);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    if (config != from.config.layers.end()) desc = config->second.desc;
    desc.K = shape.K;
    desc.N = shape.N;
    if (from.weight_dtype != SS1_DTYPE_DEFAULT) desc.weight_dtype = from.weight_dtype;
    return desc;
}

ss1_status load_as(ss1_context &context, const model_directory &from, const linear_shape &shape, ss1_linear_desc desc,
                   named_layer &out) {
    const bool is_tied = from.config.is_tied(shape.name);
    SS1_TRY(resolve_for("layer " + shape.name, SS1_ERROR_INVALID_ARGUMENT, desc));
    const size_t stored_columns = mapping(desc).stored_columns;
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

}  // namespace

ss1_status load_layer(ss1_context &context, const model_directory &from, const linear_shape &shape,
                      ss1_activation activation, named_layer &out, layer_types types) {
    ss1_linear_desc desc = desc_of(from, shape);
    desc.activation = activation;
    desc.x_dtype = types.x;
    desc.y_dtype = types.y;
    return load_as(context, from, shape, desc, out);
}

bool is_below_f32(const model_directory &from, const linear_shape &shape) {
    const ss1_dtype dtype = desc_of(from, shape).weight_dtype;
    return dtype == SS1_DTYPE_BF16 || dtype == SS1_DTYPE_I8;
}

ss1_status load_mlp(ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                    ss1_activation hidden, ss1_activation last, std::vector<named_layer> &out) {
    ss1_dtype x_dtype = SS1_DTYPE_F32;
    for (size_t i = 0; i < shapes.size(); ++i) {
        const bool is_last = i + 1 == shapes.size();
        ss1_linear_desc desc = desc_of(from, shapes[i]);
        desc.activation = is_last ? last : hidden;
        desc.x_dtype = x_dtype;
        const bool hands_bf16 = !is_last && is_below_f32(from, shapes[i]) && is_below_f32(from, shapes[i + 1]);
        desc.y_dtype = x_dtype = hands_bf16 ? SS1_DTYPE_BF16 : SS1_DTYPE_F32;
        SS1_TRY(load_as(context, from, shapes[i], desc, out.emplace_back()));
    }
    return SS1_OK;
}

size_t layer_scratch(std::span<const named_layer> layers, size_t rows) noexcept {
    size_t most = 0;
    for (const named_layer &l : layers) most = std::max(most, l.layer->backend->layer_scratch(l.layer->state, rows));
    return most;
}

}  // namespace ss1
