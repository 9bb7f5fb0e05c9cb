// SPDX-License-Identifier: Apache-2.0
// config.json as plain structs, every rule of README.md checked.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/bert_config.hpp"
#include "io/json.hpp"
#include "kernels.hpp"
#include "ss1/ss1.h"

namespace ss1 {

enum class model_family { dlrm, bert };
enum class dlrm_interaction { dot, cat, dcn };

struct dlrm_table {
    std::string name;
    size_t rows = 0;
    bool user_side = false;  // its bags may be given once for all rows of a run
    row_format format = row_format::f32;
    bool mean = false;
};

// All tables in one array of `size` floats; size 0: each has its own.
struct robe_config {
    size_t size = 0, block = 0, seed = 0;
};

struct dlrm_config {
    std::vector<std::string> dense_features;
    size_t embedding_dim = 0;
    std::vector<dlrm_table> tables;
    robe_config robe;
    std::vector<size_t> bottom_mlp;  // inputs first
    std::vector<size_t> top_mlp;     // outputs only
    dlrm_interaction interaction = dlrm_interaction::dot;
    bool interaction_itself = false;
    size_t cross_layers = 0, cross_rank = 0;  // of `dcn`
    double loss_threshold = 0;

    size_t interaction_width() const noexcept;  // inputs of the top MLP
};

// How a linear layer is stored (`tied`: as ss1_weight) and held in memory: K, N, weight_dtype and, if tied, the mapping
// of `desc` are set, all of it explicit.
struct layer_config {
    bool tied;
    ss1_linear_desc desc;
};
using layer_configs = std::map<std::string, layer_config>;  // by name

struct model_config {
    model_family family = model_family::dlrm;
    dlrm_config dlrm;  // only the family's own struct means anything
    bert_config bert;
    layer_configs layers;  // those that config.json names; the others are dense and f32
    std::string text;      // config.json as it was read
    json original;

    bool is_tied(const std::string &layer) const noexcept;
};

// One linear layer of the model, tied or not. `optional`: a checkpoint may leave it out.
struct linear_shape {
    std::string name;
    size_t K, N;
    bool has_bias;
    bool optional;
};

// One tensor that the model reads, under its canonical name. `layer` is its linear layer, "" if it belongs to none.
struct tensor_spec {
    std::string name;
    std::vector<size_t> shape;
    std::string layer;
    bool optional;
    bool quantised = false;  // rows of bytes (U8) instead of numbers
};

// `label` is the file's name in messages. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED.
ss1_status model_config_parse(std::string_view text, const char *label, model_config &out);

const char *table_dtype_name(row_format format) noexcept;  // as "dtype" of a table

std::vector<linear_shape> linear_layers(const model_config &config);  // in the order of execution
std::vector<tensor_spec> model_tensors(const model_config &config);

// linear_resolve() with `where` in front of the message and `broken` instead of SS1_ERROR_INVALID_ARGUMENT.
ss1_status resolve_for(const std::string &where, ss1_status broken, ss1_linear_desc &desc);

// A layer's entry of "ss1".layers.
json layer_entry(const layer_config &layer);

}  // namespace ss1
