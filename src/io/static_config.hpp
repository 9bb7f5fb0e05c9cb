// SPDX-License-Identifier: Apache-2.0
// Static embeddings: a table with a row for each token, in the files of sentence-transformers' StaticEmbedding and of
// model2vec.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "io/model_shapes.hpp"
#include "ss1/ss1.h"

namespace ss1 {

struct model_config;
struct model_directory;

struct static_config {
    size_t vocab_size = 0, size = 0;  // those of the table in the file: no configuration has them
};

// model2vec says in config.json whether rows are normalised: that becomes a module. `label` names the file in
// messages. @return SS1_OK; SS1_ERROR_FORMAT.
ss1_status static_config_parse(const json &root, const std::string &label, model_config &out);
void add_static_tensors(const static_config &config, std::vector<tensor_spec> &tensors);
// Takes the sizes of the table from the file.
void measure_static_table(model_directory &directory);

}  // namespace ss1
