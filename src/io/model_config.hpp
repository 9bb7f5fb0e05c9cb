// SPDX-License-Identifier: Apache-2.0
// config.json as plain structs, every rule of README.md checked.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/bert_config.hpp"
#include "io/dlrm_config.hpp"
#include "io/json.hpp"
#include "io/model_shapes.hpp"
#include "ss1/ss1.h"

namespace ss1 {

struct model_family;  // model/families.hpp

// How a linear layer is stored (`tied`: as ss1_weight) and held in memory: K, N, weight_dtype and, if tied, the mapping
// of `desc` are set, all of it explicit.
struct layer_config {
    bool tied;
    ss1_linear_desc desc;
};
using layer_configs = std::map<std::string, layer_config>;  // by name

struct model_config {
    const model_family *family = nullptr;
    dlrm_config dlrm;  // only the family's own struct means anything
    bert_config bert;
    layer_configs layers;  // those that config.json names; the others are dense and f32
    std::string text;      // config.json as it was read
    json original;

    bool is_tied(const std::string &layer) const noexcept;
};

// `label` is the file's name in messages. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED.
ss1_status model_config_parse(std::string_view text, const char *label, model_config &out);

std::vector<linear_shape> linear_layers(const model_config &config);  // in the order of execution
std::vector<tensor_spec> model_tensors(const model_config &config);

// linear_resolve() with `where` in front of the message and `broken` instead of SS1_ERROR_INVALID_ARGUMENT.
ss1_status resolve_for(const std::string &where, ss1_status broken, ss1_linear_desc &desc);

// A layer's entry of "ss1".layers.
json layer_entry(const layer_config &layer);

}  // namespace ss1
