// SPDX-License-Identifier: Apache-2.0
// Computes static embeddings: averages the rows of a text's tokens and runs the modules behind it.
#pragma once
#include "model/sentence.hpp"

namespace ss1 {

struct static_activations {
    sentence_rows rows;
    void *scratch;  // for the modules' layers
};

struct static_model {
    using activations = static_activations;
    static constexpr const char *stages[] = {"lookup", "modules"};

    static_config config;
    buffer table;  // [vocab_size, size]
    sentence_graph sentence;
    std::vector<named_layer> layers;
    std::vector<std::string> labels;  // none
};

// The functions of a family, see families.hpp.
ss1_status prepare(const model_directory &from, static_model &out);
ss1_status load(ss1_context &context, const model_directory &from, static_model &out);
std::vector<tensor_slot> input_slots(const static_model &model);
std::vector<tensor_slot> output_slots(const static_model &model);
void describe(const static_model &model, ss1_model_info &info) noexcept;
ss1_status resolve_bounds(const static_model &model, session_bounds &bounds) noexcept;
static_activations carve(const ss1_context &context, const static_model &model, const session_bounds &bounds,
                         carver &memory) noexcept;
ss1_status check_sizes(const static_model &model, const session_bounds &bounds,
                       const tensor_list<const ss1_tensor> &inputs, run_size &size);
ss1_status check_values(const static_model &model, const tensor_list<const ss1_tensor> &inputs);
ss1_status run(const static_model &model, const static_activations &memory, model_run &run);

}  // namespace ss1
