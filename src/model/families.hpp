// SPDX-License-Identifier: Apache-2.0
// The families of models: one row each. A new family is its files and a row in families.cpp.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_directory.hpp"
#include "model/layers.hpp"
#include "model/session.hpp"

namespace ss1 {

// The family's rules for files. parse() fills the family's struct of `config`; add_layers() and add_tensors()
// append the parts of the configuration: linear layers in the order of execution, tensors of no linear layer.
struct family_files {
    ss1_status (*parse)(const json &root, const std::string &type, const std::string &label, model_config &config);
    void (*add_layers)(const model_config &config, std::vector<linear_shape> &layers);
    void (*add_tensors)(const model_config &config, std::vector<tensor_spec> &tensors);
    // Translate between the names in the files of the family's framework and those of the library.
    std::string (*canonical_name)(const model_config &config, std::string_view name);
    std::string (*stored_name)(const model_config &config, std::string_view name);
    // Adds the tensors that files leave out because another tensor has their values.
    void (*share_tensors)(model_directory &directory);
};

struct model_family {
    const char *name;                         // ss1_model_info.family
    std::span<const std::string_view> types;  // model_type in config.json
    std::span<const char *const> stages;      // those that ss1_session_time_stages() measures
    bool has_tables;                          // embedding tables that can be mapped and quantised
    family_files files;

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
};

std::span<const model_family> model_families() noexcept;

}  // namespace ss1
