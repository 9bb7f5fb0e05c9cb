// SPDX-License-Identifier: Apache-2.0
// The configurations and tensor names of the families of models: one row each.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_directory.hpp"

namespace ss1 {

// The family's rules for files. parse() fills the family's struct of `config`; add_layers() and add_tensors()
// append the parts of the configuration: linear layers in the order of execution, tensors of no linear layer.
struct family_files {
    const char *name;                         // ss1_model_info.family
    std::span<const std::string_view> types;  // model_type in config.json
    bool has_tables;                          // embedding tables that can be mapped and quantised
    bool has_hidden_states;                   // rows that a sentence-transformers directory can pool
    bool takes_bare_texts;                    // reads a text's own tokens, without those around it
    bool runs_on_backends;                    // plugins may run it whole
    ss1_status (*parse)(const json &root, const std::string &type, const std::string &label, model_config &config);
    void (*add_layers)(const model_config &config, std::vector<linear_shape> &layers);
    void (*add_tensors)(const model_config &config, std::vector<tensor_spec> &tensors);
    // Translate between the names in the files of the family's framework and those of the library.
    std::string (*canonical_name)(const model_config &config, std::string_view name);
    std::string (*stored_name)(const model_config &config, std::string_view name);
    // Adds the tensors that files leave out because another tensor has their values.
    void (*share_tensors)(model_directory &directory);
};

extern const family_files dlrm_files, bert_files, static_files;
std::span<const family_files *const> known_families() noexcept;

}  // namespace ss1
