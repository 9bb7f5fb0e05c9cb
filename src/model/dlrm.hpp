// SPDX-License-Identifier: Apache-2.0
// DLRM (facebookresearch/dlrm): bottom MLP, embedding bags, interaction, top MLP. Rows pass through all of them block
// by block, so that the values between two of them stay in L2.
#pragma once
#include <vector>

#include "model/layers.hpp"
#include "model/session.hpp"
#include "model/tables.hpp"
#include "op/tower.hpp"

namespace ss1 {

// Stages of a run whose time is measured. `interaction` includes the cross network.
enum class dlrm_stage { lookup, bottom, interaction, top };
inline constexpr size_t n_dlrm_stages = 4;

// The last three exist if a table is on the user's side. Weights may be missing.
enum dlrm_input { dense_x, indices, offsets, weights, user_indices, user_offsets, user_weights };

// Holds the activations of up to max_batch rows, all in the session's memory.
struct dlrm_activations {
    float *logits, *probability;  // [B]
    float *shared;                // [vectors_ld]: the vectors that all rows of a run have in common
    double *task_seconds;         // [threads, stages]
    char *memory;                 // for the workers
};

struct dlrm_model {
    using activations = dlrm_activations;
    static constexpr const char *stages[] = {"lookup", "bottom", "interaction", "top"};

    dlrm_config config;
    std::vector<named_layer> layers;  // those of the bottom MLP first, then the cross network's
    size_t n_bottom = 0;
    std::vector<std::string> labels;  // a DLRM has none
    ss1_tower bottom, top;
    std::vector<ss1_tower> cross;  // V_l, W_l
    dlrm_tables tables;
    size_t vectors_ld = 0;                 // [(tables + 1) d]: the bottom MLP's output, then the bags
    size_t top_ld = 0;                     // leading dimension of the top MLP's input
    size_t row_block = 0, front_rows = 0;  // rows from lookup to top at a time; from lookup to interaction
    const interact_kernel *interact = nullptr;
    const cross_kernel *cross_step = nullptr;
    const activation_kernel *sigmoid = nullptr;

    bool is_dot() const noexcept { return config.interaction == dlrm_interaction::dot; }
};

static_assert(std::size(dlrm_model::stages) == n_dlrm_stages);

// The functions of a family, see families.hpp. Offsets and indices are checked while it runs.
ss1_status prepare(const model_directory &from, dlrm_model &out);
ss1_status load(ss1_context &context, const model_directory &from, dlrm_model &out);
std::vector<tensor_slot> input_slots(const dlrm_model &model);
std::vector<tensor_slot> output_slots(const dlrm_model &model);
void describe(const dlrm_model &model, ss1_model_info &info) noexcept;
ss1_status resolve_bounds(const dlrm_model &model, session_bounds &bounds) noexcept;
dlrm_activations carve(const ss1_context &context, const dlrm_model &model, const session_bounds &bounds,
                       carver &memory) noexcept;
ss1_status check_sizes(const dlrm_model &model, const session_bounds &bounds,
                       const tensor_list<const ss1_tensor> &inputs, run_size &size);
ss1_status check_values(const dlrm_model &model, const tensor_list<const ss1_tensor> &inputs);
ss1_status run(const dlrm_model &model, const dlrm_activations &memory, model_run &run);

}  // namespace ss1
