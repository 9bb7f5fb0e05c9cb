// SPDX-License-Identifier: Apache-2.0
// DLRM (facebookresearch/dlrm): bottom MLP, embedding bags, interaction, top MLP. Rows go through all of them block by
// block, so that what is between them stays in L2.
#pragma once
#include <vector>

#include "model/layers.hpp"
#include "model/session.hpp"
#include "model/tables.hpp"
#include "op/tower.hpp"

namespace ss1 {

// Where the time of a run goes. `interaction` includes the cross network.
enum class dlrm_stage { lookup, bottom, interaction, top };
inline constexpr size_t n_dlrm_stages = 4;

// The last three where a table is on the user's side. Weights may be missing.
enum dlrm_input { dense_x, indices, offsets, weights, user_indices, user_offsets, user_weights };

// Of up to max_batch rows, all in the session's memory.
struct dlrm_activations {
    float *logits, *probability;  // [B]
    float *shared;                // [vectors_ld]: the vectors that all rows of a run have in common
    double *task_seconds;         // [threads, stages]
    char *memory;                 // of the tasks
    double *stage_seconds;        // [stages], the caller's: what runs add their time to; NULL: nobody asks
};

struct dlrm_model {
    using activations = dlrm_activations;

    dlrm_config config;
    std::vector<named_layer> layers;  // those of the bottom MLP first, then the cross network's
    size_t n_bottom = 0;
    ss1_tower bottom, top;
    std::vector<ss1_tower> cross;  // V_l, W_l
    dlrm_tables tables;
    size_t vectors_ld = 0;                 // [(tables + 1) d]: the bottom MLP's output, then the bags
    size_t top_ld = 0;                     // of the top MLP's input
    size_t row_block = 0, front_rows = 0;  // rows from lookup to top at a time; from lookup to interaction
    const interact_kernel *interact = nullptr;
    const cross_kernel *cross_step = nullptr;
    const activation_kernel *sigmoid = nullptr;

    bool is_dot() const noexcept { return config.interaction == dlrm_interaction::dot; }
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
// Checks all offsets and indices while it runs.
ss1_status run(const ss1_context &context, const dlrm_model &model, const dlrm_activations &memory,
               const run_control &control, const tensor_list<const ss1_tensor> &inputs, const run_size &size,
               run_outputs &outputs);

}  // namespace ss1
