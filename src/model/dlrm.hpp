// SPDX-License-Identifier: Apache-2.0
// DLRM (facebookresearch/dlrm): bottom MLP, embedding bags, interaction, top MLP.
#pragma once
#include "model/layers.hpp"
#include "model/session.hpp"
#include "model/tables.hpp"
#include "op/tower.hpp"

namespace ss1 {

// Activations of up to max_batch rows, all in the session's memory.
struct dlrm_activations {
    float *vectors;      // [B, (tables + 1) d]: the bottom MLP's output, then the bags
    float *interaction;  // [B, interaction_stride]: input of the top MLP; with `cat` the vectors themselves
    float *probability;  // [B]
    void *scratch;
};

struct dlrm_model {
    using activations = dlrm_activations;

    dlrm_config config;
    std::vector<named_layer> layers;  // those of the bottom MLP first
    size_t n_bottom = 0;
    ss1_tower bottom, top;
    size_t interaction_stride = 0;
    dlrm_tables tables;
    const interact_kernel *interact = nullptr;
};

ss1_status load(ss1_context &context, const model_directory &from, dlrm_model &out);
std::vector<tensor_slot> input_slots(const dlrm_model &model);
std::vector<tensor_slot> output_slots(const dlrm_model &model);
size_t table_bytes(const dlrm_model &model) noexcept;  // weights that are not in layers
size_t table_parameters(const dlrm_model &model) noexcept;

ss1_status resolve_bounds(const dlrm_model &model, session_bounds &bounds) noexcept;
dlrm_activations carve(const ss1_context &context, const dlrm_model &model, const session_bounds &bounds,
                       carver &memory) noexcept;

// Inputs are matched; this checks how they go together and what fits the session.
ss1_status check_inputs(const dlrm_model &model, const session_bounds &bounds,
                        const tensor_list<const ss1_tensor> &inputs, run_size &size);
// Checks all offsets and indices while it runs. `results` receives where the outputs are.
ss1_status run(const ss1_context &context, const dlrm_model &model, const dlrm_activations &memory,
               const tensor_list<const ss1_tensor> &inputs, const run_size &size, tensor_list<const float> &results);

}  // namespace ss1
