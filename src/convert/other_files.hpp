// SPDX-License-Identifier: Apache-2.0
// The files of a model directory that a conversion keeps: tokenizer, modules of sentence-transformers, README, ...
#pragma once
#include <string>
#include <vector>

#include "io/model_directory.hpp"

namespace ss1 {

// Lists them, relative to `root`, the path from which `directory` was opened. Not among them: the transformer's
// config.json and weights, and weights of other frameworks, which would be the old ones. Folders are those of
// sentence-transformers.
ss1_status other_files(const model_directory &directory, const std::string &root, std::vector<std::string> &names);

}  // namespace ss1
