// SPDX-License-Identifier: Apache-2.0
#include "model/layers.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.hpp"
#include "mapping/mapping.hpp"

namespace ss1 {

ss1_linear_desc desc_of(const model_directory &from, const linear_shape &shape) {
    const auto config = from.config.layers.find(shape.name);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    if (config != from.config.layers.end()) desc = config->second.desc;
    desc.K = shape.K;
    desc.N = shape.N;
    if (from.weight_dtype != SS1_DTYPE_DEFAULT) desc.weight_dtype = from.weight_dtype;
    return desc;
}

ss1_status read_weights(const ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                        const ss1_linear_desc &desc, layer_weights &out) {
    const linear_shape &first = shapes[0];
    const size_t N = first.N, kz = mapping(desc).stored_columns, parts = shapes.size(), r = desc.rank;
    const auto take = [&](buffer &to, std::array<size_t, 3> sizes) -> ss1_status {
        size_t bytes = 0;
        SS1_CHECK(checked_bytes(sizes, sizeof(float), bytes), SS1_ERROR_FORMAT,
                  "%s/config.json: layer %s: %zu x %zu weights do not fit the address space", from.path.c_str(),
                  first.name.c_str(), sizes[1], sizes[2]);
        return bytes ? to.allocate(context, bytes) : SS1_OK;
    };
    SS1_TRY(take(out.z, {parts, N, kz}));
    SS1_TRY(take(out.u, {parts, N, r}));
    SS1_TRY(take(out.v, {1, r, first.K}));
    if (first.has_bias) SS1_TRY(take(out.bias, {parts, N, 1}));
    const size_t z_shape[] = {N, kz}, bias_shape[] = {N}, u_shape[] = {N, r}, v_shape[] = {r, first.K};
    for (size_t i = 0; i < parts; ++i) {
        const std::string &name = shapes[i].name;
        const char *weight = from.config.is_tied(name) ? ".ss1_weight" : ".weight";
        if (kz) SS1_TRY(tensor_f32(from, name + weight, z_shape, out.z.as<float>() + i * N * kz));
        if (r) SS1_TRY(tensor_f32(from, name + ".low_rank_up", u_shape, out.u.as<float>() + i * N * r));
        if (first.has_bias) SS1_TRY(tensor_f32(from, name + ".bias", bias_shape, out.bias.as<float>() + i * N));
    }
    return r ? tensor_f32(from, first.name + ".low_rank_down", v_shape, out.v.as<float>()) : SS1_OK;
}

namespace {

// Describes part `i` of the `n` parts that run as one layer.
ss1_layer_info info_of_part(const ss1_layer &layer, size_t i, size_t n) noexcept {
    ss1_layer_info info = layer.info;
    info.desc.N /= n;
    info.weight_bytes =
        layer.info.weight_bytes * (i + 1) / n - layer.info.weight_bytes * i / n;  // the parts sum to the whole
    info.flops_per_row /= static_cast<double>(n);
    info.flops_per_row_dense /= static_cast<double>(n);
    return info;
}

// Makes one layer of `shapes`, which are equal and share `desc`; appends an entry to `out` for each shape.
ss1_status load_as(ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                   ss1_linear_desc desc, std::vector<named_layer> &out) {
    const linear_shape &first = shapes[0];
    SS1_TRY(resolve_for("layer " + first.name, SS1_ERROR_INVALID_ARGUMENT, desc));
    const size_t parts = shapes.size();
    layer_weights stored;  // freed once the layer has packed them
    SS1_TRY(read_weights(context, from, shapes, desc, stored));
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = stored.z.as<float>();
    weights.bias = stored.bias.as<float>();
    weights.u = stored.u.as<float>();
    weights.v = stored.v.as<float>();
    ss1_layer *created = nullptr;
    SS1_TRY(layer_create(context, desc, weights, &created, parts));
    const std::shared_ptr<const ss1_layer> layer(created);
    for (size_t i = 0; i < parts; ++i)
        out.push_back({shapes[i].name, layer, info_of_part(*layer, i, parts), first.has_bias});
    return SS1_OK;
}

// Whether all layers store the same V, so that one x V serves them.
ss1_status share_down(const ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                      size_t rank, bool &out) {
    const size_t shape[] = {rank, shapes[0].K};
    buffer first, other;
    SS1_TRY(tensor_f32(context, from, shapes[0].name + ".low_rank_down", shape, first));
    for (const linear_shape &layer : shapes.subspan(1)) {
        SS1_TRY(tensor_f32(context, from, layer.name + ".low_rank_down", shape, other));
        out = out && std::memcmp(first.data(), other.data(), rank * layer.K * sizeof(float)) == 0;
    }
    return SS1_OK;
}

// Whether these layers have one mapping, rank and type, and the context's backend takes them as one layer. `made`: a
// layer whose activation and types of x and y they get.
bool are_alike(const ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
               const ss1_linear_desc &made) {
    ss1_linear_desc first = made;
    if (linear_resolve(first, nullptr) != SS1_OK || !can_stack(context, first, shapes.size())) return false;
    return std::ranges::all_of(shapes.subspan(1), [&](const linear_shape &shape) {
        ss1_linear_desc desc = desc_of(from, shape);
        if (linear_resolve(desc, nullptr) != SS1_OK) return false;
        const bool one_mapping =
            desc.c <= 1 || (desc.scheme == first.scheme && desc.seed == first.seed && desc.block_k == first.block_k &&
                            desc.block_n == first.block_n && desc.step == first.step);
        return desc.K == first.K && desc.N == first.N && desc.c == first.c && desc.rank == first.rank && one_mapping &&
               desc.weight_dtype == first.weight_dtype && shape.has_bias == shapes[0].has_bias;
    });
}

}  // namespace

ss1_status load_layers(ss1_context &context, const model_directory &from, std::span<const linear_shape> shapes,
                       ss1_activation activation, std::vector<named_layer> &out, layer_types types) {
    ss1_linear_desc desc = desc_of(from, shapes[0]);
    desc.activation = activation;
    desc.x_dtype = types.x;
    desc.y_dtype = types.y;
    bool as_one = shapes.size() == 1 || are_alike(context, from, shapes, desc);
    if (as_one && desc.rank && shapes.size() > 1) SS1_TRY(share_down(context, from, shapes, desc.rank, as_one));
    if (as_one) return load_as(context, from, shapes, desc, out);
    SS1_TRY(load_as(context, from, shapes.first(1), desc, out));
    return load_layers(context, from, shapes.subspan(1), activation, out, types);
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
        SS1_TRY(load_as(context, from, shapes.subspan(i, 1), desc, out));
    }
    return SS1_OK;
}

size_t layer_scratch(const team &who, std::span<const named_layer> layers, size_t rows) noexcept {
    size_t most = 0;
    for (const named_layer &l : layers) most = std::max(most, layer_bytes(who, *l.layer, rows));
    return most;
}

}  // namespace ss1
