// SPDX-License-Identifier: Apache-2.0
#include "model/dlrm.hpp"

#include "op/interaction.hpp"

namespace ss1 {
namespace {

enum input { dense_x, indices, offsets, weights };

size_t vectors_width(const dlrm_config &config) noexcept {
    return (config.tables.size() + 1) * config.embedding_dim;
}

ss1_status make_tower(std::span<const named_layer> layers, ss1_tower &tower) {
    std::vector<const ss1_layer *> chain;
    for (const named_layer &l : layers) chain.push_back(l.layer.get());
    return tower_create(chain.data(), chain.size(), tower);
}

ss1_status run_tower(const ss1_tower &tower, size_t m, const float *x, size_t ldx, float *y, size_t ldy,
                     void *scratch) noexcept {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    args.ldy = ldy;
    args.scratch = scratch;
    return tower_run(tower, args);
}

void clamp(float *values, size_t n, double threshold) noexcept {
    if (!(threshold > 0)) return;
    const auto low = static_cast<float>(threshold), high = static_cast<float>(1 - threshold);
    for (size_t i = 0; i < n; ++i)
        values[i] = values[i] < low ? low : values[i] > high ? high : values[i];  // NaN stays
}

}  // namespace

ss1_status load(ss1_context &context, const model_directory &from, dlrm_model &out) {
    out.config = from.config.dlrm;
    out.n_bottom = out.config.bottom_mlp.size() - 1;
    const std::vector<linear_shape> shapes = linear_layers(from.config);
    for (size_t i = 0; i < shapes.size(); ++i) {
        const bool last = i + 1 == shapes.size();
        SS1_TRY(load_layer(context, from, shapes[i], last ? SS1_ACTIVATION_SIGMOID : SS1_ACTIVATION_RELU,
                           out.layers.emplace_back()));
    }
    SS1_TRY(make_tower(std::span(out.layers).first(out.n_bottom), out.bottom));
    SS1_TRY(make_tower(std::span(out.layers).subspan(out.n_bottom), out.top));
    out.interaction_stride = out.config.interaction == dlrm_interaction::dot
                                 ? row_stride(out.config.interaction_width())
                                 : vectors_width(out.config);
    out.interact = &interact_kernels().select(context.usable);
    return load_tables(context, from, out.tables);
}

std::vector<tensor_slot> input_slots(const dlrm_model &model) {
    return {make_slot("dense_x", SS1_DTYPE_F32, {varies, model.config.dense_features.size()}, true),
            make_slot("indices", SS1_DTYPE_I64, {varies}, true),
            make_slot("offsets", SS1_DTYPE_I64, {model.config.tables.size(), varies}, true),
            make_slot("weights", SS1_DTYPE_F32, {varies}, false)};
}

std::vector<tensor_slot> output_slots(const dlrm_model &) {
    return {make_slot("probability", SS1_DTYPE_F32, {varies}, false)};
}

size_t table_bytes(const dlrm_model &model) noexcept {
    return model.tables.bytes;
}

size_t table_parameters(const dlrm_model &model) noexcept {
    return model.tables.parameters;
}

ss1_status resolve_bounds(const dlrm_model &, session_bounds &bounds) noexcept {
    bounds.max_tokens = 1;
    return SS1_OK;
}

dlrm_activations carve(const ss1_context &, const dlrm_model &model, const session_bounds &bounds,
                       carver &memory) noexcept {
    const size_t B = bounds.max_batch;
    dlrm_activations a;
    a.vectors = memory.take<float>(B, vectors_width(model.config));
    a.interaction =
        model.config.interaction == dlrm_interaction::dot ? memory.take<float>(B, model.interaction_stride) : a.vectors;
    a.probability = memory.take<float>(B, 1);
    a.scratch = memory.take<char>(std::max(tower_scratch(model.bottom, B), tower_scratch(model.top, B)), 1);
    return a;
}

ss1_status check_inputs(const dlrm_model &, const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                        run_size &size) {
    const int64_t batch = inputs[dense_x]->shape[0];
    size = {static_cast<size_t>(batch), 1};
    SS1_CHECK(size.batch <= bounds.max_batch, SS1_ERROR_INVALID_ARGUMENT,
              "input 'dense_x': shape[0]=%zu is above the session's max_batch=%zu", size.batch, bounds.max_batch);
    SS1_CHECK(inputs[offsets]->shape[1] == batch, SS1_ERROR_INVALID_ARGUMENT,
              "input 'offsets': shape[1]=%lld is not shape[0]=%zu of 'dense_x'",
              static_cast<long long>(inputs[offsets]->shape[1]), size.batch);
    SS1_CHECK(!inputs[weights] || inputs[weights]->shape[0] == inputs[indices]->shape[0], SS1_ERROR_INVALID_ARGUMENT,
              "input 'weights': shape[0]=%lld is not shape[0]=%lld of 'indices'",
              static_cast<long long>(inputs[weights]->shape[0]), static_cast<long long>(inputs[indices]->shape[0]));
    return SS1_OK;
}

ss1_status run(const ss1_context &context, const dlrm_model &model, const dlrm_activations &memory,
               const tensor_list<const ss1_tensor> &inputs, const run_size &size, tensor_list<const float> &results) {
    const dlrm_config &config = model.config;
    const size_t B = size.batch, d = config.embedding_dim, width = vectors_width(config);
    SS1_TRY(sum_bags(context, {model.tables.list, static_cast<const int64_t *>(inputs[indices]->data),
                               static_cast<const int64_t *>(inputs[offsets]->data),
                               inputs[weights] ? static_cast<const float *>(inputs[weights]->data) : nullptr,
                               static_cast<size_t>(inputs[indices]->shape[0]), B, d, memory.vectors + d, width}));
    SS1_TRY(run_tower(model.bottom, B, static_cast<const float *>(inputs[dense_x]->data), config.dense_features.size(),
                      memory.vectors, width, memory.scratch));
    if (config.interaction == dlrm_interaction::dot)
        interact(context, *model.interact,
                 {memory.vectors, memory.interaction + d, B, config.tables.size() + 1, d, width,
                  model.interaction_stride, config.interaction_itself});
    SS1_TRY(
        run_tower(model.top, B, memory.interaction, model.interaction_stride, memory.probability, 1, memory.scratch));
    clamp(memory.probability, B, config.loss_threshold);
    results = {memory.probability};
    return SS1_OK;
}

}  // namespace ss1
