// SPDX-License-Identifier: Apache-2.0
// config.json of a DLRM.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "io/model_shapes.hpp"
#include "kernels.hpp"
#include "ss1/ss1.h"

namespace ss1 {

enum class dlrm_interaction { dot, cat, dcn };

struct dlrm_table {
    std::string name;
    size_t rows = 0;
    bool user_side = false;  // its bags may be given once for all rows of a run
    row_format format = row_format::f32;
    bool mean = false;
    std::string vocabulary;  // file of the directory whose lines are the ids of the rows; "": none
};

// One array of `size` floats that holds all tables; size 0: each table has its own memory.
struct robe_config {
    size_t size = 0, block = 0, seed = 0;
};

struct dlrm_config {
    std::vector<std::string> dense_features;
    std::vector<double> dense_means;  // of each feature, or empty
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

const char *table_dtype_name(row_format format) noexcept;  // as "dtype" of a table

// `label` names the file in messages. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED.
ss1_status dlrm_config_parse(const json &config, const std::string &label, dlrm_config &out);

// Append the linear layers in the order of execution, and the tensors that belong to no linear layer.
void add_dlrm_layers(const dlrm_config &dlrm, std::vector<linear_shape> &layers);
void add_dlrm_tensors(const dlrm_config &dlrm, std::vector<tensor_spec> &tensors);

}  // namespace ss1
