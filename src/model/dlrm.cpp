// SPDX-License-Identifier: Apache-2.0
#include "model/dlrm.hpp"

#include "op/split.hpp"

namespace ss1 {
namespace {

// Rows of a block. Each block reads the cross network again (MLPerf v2: 42 MB from L3), so 96 rows take 6 % less time
// than the 32 whose vectors fit in L2.
constexpr size_t least_rows = 96, most_rows = 256;

ss1_status make_tower(std::span<const named_layer> layers, ss1_tower &tower) {
    std::vector<const ss1_layer *> chain;
    for (const named_layer &l : layers) chain.push_back(l.layer.get());
    return tower_create(chain.data(), chain.size(), tower);
}

ss1_status load_layers(ss1_context &context, const model_directory &from, dlrm_model &out) {
    const std::vector<linear_shape> shapes = linear_layers(from.config);
    const size_t top = shapes.size() - out.config.top_mlp.size();
    const std::span<const linear_shape> all = shapes;
    SS1_TRY(load_mlp(context, from, all.first(out.n_bottom), SS1_ACTIVATION_RELU, SS1_ACTIVATION_RELU, out.layers));
    for (size_t i = out.n_bottom; i < top; ++i)
        SS1_TRY(load_layers(context, from, all.subspan(i, 1), SS1_ACTIVATION_NONE, out.layers));
    SS1_TRY(load_mlp(context, from, all.subspan(top), SS1_ACTIVATION_RELU, SS1_ACTIVATION_NONE, out.layers));
    const std::span<const named_layer> layers = out.layers;
    SS1_TRY(make_tower(layers.first(out.n_bottom), out.bottom));
    for (size_t i = out.n_bottom; i < top; i += 2) SS1_TRY(make_tower(layers.subspan(i, 2), out.cross.emplace_back()));
    return make_tower(layers.subspan(top), out.top);
}

void choose_blocks(const ss1_context &context, dlrm_model &out) {
    const dlrm_config &config = out.config;
    const size_t width = (config.tables.size() + 1) * config.embedding_dim;
    out.vectors_ld = row_stride(width);
    out.top_ld = out.is_dot() ? row_stride(config.interaction_width()) : out.vectors_ld;
    // Inputs and hidden outputs of the top MLP take half of L2; the vectors before a dot interaction are no longer
    // needed there. A cross network reads its input and its last x, and writes the next.
    const size_t floats = out.is_dot() ? out.top_ld : (out.cross.empty() ? 1 : 3) * out.vectors_ld;
    const size_t l2 = context.caches.l2_or_usual();
    const size_t rows = l2 / 2 / (floats * sizeof(float) + 2 * out.top.hidden_row_bytes);
    out.row_block = std::clamp<size_t>(rows / row_panel * row_panel, least_rows, most_rows);
    // With 64 rows the lookup is 20 to 35 % slower and nothing else faster.
    out.front_rows = out.is_dot() ? row_panel : out.row_block;
}

}  // namespace

ss1_status prepare(const model_directory &from, dlrm_model &out) {
    out.config = from.config.dlrm;
    return SS1_OK;
}

ss1_status load(ss1_context &context, const model_directory &from, dlrm_model &out) {
    out.n_bottom = out.config.bottom_mlp.size() - 1;
    SS1_TRY(load_layers(context, from, out));
    choose_blocks(context, out);
    out.interact = &interact_kernels().select(context.usable);
    out.cross_step = &cross_kernels().select(context.usable);
    out.sigmoid = select_activation(activation::sigmoid, context.usable);
    return load_tables(context, from, out.tables);
}

std::vector<tensor_slot> input_slots(const dlrm_model &model) {
    const std::vector<dlrm_table> &tables = model.config.tables;
    const auto users = static_cast<size_t>(std::ranges::count(tables, true, &dlrm_table::user_side));
    std::vector<tensor_slot> slots = {
        make_slot("dense_x", SS1_DTYPE_F32, {varies, model.config.dense_features.size()}, true),
        make_slot("indices", SS1_DTYPE_I64, {varies}, true),
        make_slot("offsets", SS1_DTYPE_I64, {tables.size() - users, varies}, true),
        make_slot("weights", SS1_DTYPE_F32, {varies}, false)};
    if (users == 0) return slots;
    slots.push_back(make_slot("user_indices", SS1_DTYPE_I64, {varies}, true));
    slots.push_back(make_slot("user_offsets", SS1_DTYPE_I64, {users, varies}, true));
    slots.push_back(make_slot("user_weights", SS1_DTYPE_F32, {varies}, false));
    return slots;
}

std::vector<tensor_slot> output_slots(const dlrm_model &) {
    return {make_slot("probability", SS1_DTYPE_F32, {varies}, false),
            make_slot("logits", SS1_DTYPE_F32, {varies}, false)};
}

void describe(const dlrm_model &model, ss1_model_info &info) noexcept {
    info.weight_bytes = model.tables.bytes;
    info.parameters = model.tables.parameters;
}

ss1_status resolve_bounds(const dlrm_model &, session_bounds &bounds) noexcept {
    bounds.max_tokens = 1;
    return SS1_OK;
}

ss1_status check_values(const dlrm_model &, const tensor_list<const ss1_tensor> &) {
    return SS1_OK;
}

ss1_status check_sizes(const dlrm_model &, const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                       run_size &size) {
    const int64_t batch = inputs[offsets]->shape[1];
    size = {static_cast<size_t>(batch), 1};
    SS1_CHECK(size.batch <= bounds.max_batch, SS1_ERROR_INVALID_ARGUMENT,
              "input 'offsets': shape[1]=%zu is above the session's max_batch=%zu", size.batch, bounds.max_batch);
    const auto given = [&](const char *name, int axis, int64_t rows) {
        SS1_CHECK(rows == batch || rows == 1, SS1_ERROR_INVALID_ARGUMENT,
                  "input '%s': shape[%d]=%lld is neither shape[1]=%zu of 'offsets' nor 1", name, axis,
                  static_cast<long long>(rows), size.batch);
        return SS1_OK;
    };
    SS1_TRY(given("dense_x", 0, inputs[dense_x]->shape[0]));
    const auto one_each = [&](const char *prefix, dlrm_input factors, dlrm_input ids) {
        SS1_CHECK(!inputs[factors] || inputs[factors]->shape[0] == inputs[ids]->shape[0], SS1_ERROR_INVALID_ARGUMENT,
                  "input '%sweights': shape[0]=%lld is not shape[0]=%lld of '%sindices'", prefix,
                  static_cast<long long>(inputs[factors]->shape[0]), static_cast<long long>(inputs[ids]->shape[0]),
                  prefix);
        return SS1_OK;
    };
    SS1_TRY(one_each("", weights, indices));
    if (!inputs[user_offsets]) return SS1_OK;
    SS1_TRY(one_each("user_", user_weights, user_indices));
    return given("user_offsets", 1, inputs[user_offsets]->shape[1]);
}

}  // namespace ss1
