// SPDX-License-Identifier: Apache-2.0
// The graphs and sessions of the families of models: one row each. A new family is its own files, a row here and one in
// io/families.cpp.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/families.hpp"
#include "model/layers.hpp"
#include "model/session.hpp"

namespace ss1 {

struct model_family {
    const family_files *files;
    std::span<const char *const> stages;  // those that ss1_session_time_stages() measures

    // The graph. make() creates an empty one; prepare() fills the parts that slots and describe() need, load() the
    // rest.
    std::shared_ptr<void> (*make)();
    ss1_status (*prepare)(const model_directory &from, void *graph);
    ss1_status (*load)(ss1_context &context, const model_directory &from, void *graph);
    std::vector<tensor_slot> (*input_slots)(const void *graph);
    std::vector<tensor_slot> (*output_slots)(const void *graph);
    // Fills labels, limits, and the bytes and parameters of the weights that lie in no linear layer.
    void (*describe)(const void *graph, ss1_model_info &info);
    const std::vector<named_layer> &(*layers)(const void *graph);
    const std::vector<std::string> &(*labels)(const void *graph);

    // Sessions. carve() makes the activations, plain data of activation_bytes, in `activations`; their arrays lie in
    // `memory`.
    ss1_status (*resolve_bounds)(const void *graph, session_bounds &bounds);
    size_t activation_bytes;
    void (*carve)(const ss1_context &context, const void *graph, const session_bounds &bounds, carver &memory,
                  void *activations);
    // Inputs are matched. check_sizes() checks that they fit each other and the session, check_values() ids and masks.
    ss1_status (*check_sizes)(const void *graph, const session_bounds &bounds,
                              const tensor_list<const ss1_tensor> &inputs, run_size &size);
    ss1_status (*check_values)(const void *graph, const tensor_list<const ss1_tensor> &inputs);
    ss1_status (*run)(const void *graph, const void *activations, model_run &run);

    // Replaces rows of a table while sessions run; NULL for families without tables.
    ss1_status (*update_rows)(void *graph, const ss1_update_rows_args &args);
};

const model_family &model_family_of(const family_files &files) noexcept;

}  // namespace ss1
