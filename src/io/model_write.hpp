// SPDX-License-Identifier: Apache-2.0
// Writes a model directory, all or nothing.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// Fails with SS1_ERROR_IO if `output` already holds a model or cannot become a folder. What a killed model_write() left
// is no model.
ss1_status model_write_possible(const std::string &output);

// Writes `others` (file name -> content), model.safetensors and, last, config.json: a folder with a config.json is
// complete. Creates `output` if necessary, and removes what a killed model_write() left there. On error it removes
// everything that it wrote.
ss1_status model_write(const std::string &output, const std::string &config, std::vector<tensor_to_write> tensors,
                       const std::map<std::string, std::string> &others);

}  // namespace ss1
