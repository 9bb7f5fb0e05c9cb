// SPDX-License-Identifier: Apache-2.0
// Writes a model directory, all or nothing.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// Fails with SS1_ERROR_IO if `output`, or `folder` in it, already holds a model, if another process writes one there,
// or if it cannot become a folder. What a killed model_write() left is no model.
ss1_status model_write_possible(const std::string &output, const std::string &folder);

// A model directory to write: config.json and model.safetensors lie in `folder` of it ("": in itself), copies of
// `others` have the names that they have below `source`.
struct model_files {
    std::string folder;
    std::string config;
    std::vector<tensor_to_write> tensors;
    std::string source;
    std::vector<std::string> others;
};

// Writes the others, model.safetensors and, last, config.json: a folder with a config.json is complete. Creates
// `output` and the folders in it if necessary, and removes what a killed model_write() left there. On error it removes
// everything that it wrote. `check`, called between blocks of copies, may end it.
ss1_status model_write(const std::string &output, model_files files, const std::function<ss1_status()> &check);

}  // namespace ss1
