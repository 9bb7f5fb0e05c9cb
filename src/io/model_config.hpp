// SPDX-License-Identifier: Apache-2.0
// config.json as plain structs; parsing checks every rule of docs/format.md.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/bert_config.hpp"
#include "io/dlrm_config.hpp"
#include "io/json_writer.hpp"
#include "io/model_shapes.hpp"
#include "io/sentence_config.hpp"
#include "io/static_config.hpp"
#include "ss1/ss1.h"

namespace ss1 {

struct family_files;  // io/families.hpp

// How a linear layer is stored and held in memory. `tied`: its weight is in ss1_weight; else it is in weight, or, with
// desc.c = 0, nowhere but in low_rank_up and low_rank_down. `desc` has K, N, weight_dtype, rank and, if tied, every
// field of the mapping set, without defaults.
struct layer_config {
    bool tied;
    ss1_linear_desc desc;
};
using layer_configs = std::map<std::string, layer_config>;  // by name

struct model_config {
    const family_files *family = nullptr;
    dlrm_config dlrm;  // only the struct of the model's family is valid
    bert_config bert;
    static_config fixed;
    sentence_config sentence;      // empty without modules.json
    std::string score_activation;  // of a CrossEncoder's logits, a Python path; "": none is given
    layer_configs layers;          // the layers in config.json; all others are dense and f32
    std::string text;              // config.json as it was read

    bool is_tied(const std::string &layer) const noexcept;
    bool has_weight(const std::string &layer) const noexcept;  // stored as `weight`, alone or beside a low-rank part
    bool is_plain(const std::string &layer) const noexcept { return has_weight(layer) && rank(layer) == 0; }
    size_t rank(const std::string &layer) const noexcept;
};

// `label` names the file in messages. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED.
// `sentence`: what the directory adds to the transformer; with a pooling, the transformer has no head.
ss1_status model_config_parse(std::string_view text, const char *label, model_config &out,
                              sentence_config sentence = {});

std::vector<linear_shape> linear_layers(const model_config &config);  // in the order of execution
std::vector<tensor_spec> model_tensors(const model_config &config);

// Calls linear_resolve() and puts `where` before its message and `broken` in place of SS1_ERROR_INVALID_ARGUMENT.
ss1_status resolve_for(const std::string &where, ss1_status broken, ss1_linear_desc &desc);

// Writes the entry of a layer in "ss1".layers.
void write_layer_entry(json_writer &out, const layer_config &layer);

// Writes config.json again with `layers` added or changed and, unless it is NULL, the type of all tables.
ss1_status model_config_write(const model_config &config, const layer_configs &layers, const char *table_dtype,
                              std::string &out);

}  // namespace ss1
