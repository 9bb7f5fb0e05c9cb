// SPDX-License-Identifier: Apache-2.0
// Writing a model directory, all or nothing.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "io/safetensors.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// SS1_ERROR_IO if `output` holds a model already or cannot become a folder.
ss1_status model_write_possible(const std::string &output);

// Writes `others` (file name -> content), model.safetensors and at last config.json: a folder with a config.json is
// complete. `output` is created if need be. On error nothing that was written remains.
ss1_status model_write(const std::string &output, const json &config, std::vector<tensor_to_write> tensors,
                       const std::map<std::string, std::string> &others);

}  // namespace ss1
