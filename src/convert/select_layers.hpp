// SPDX-License-Identifier: Apache-2.0
// Which layers of a model a conversion changes, and why it leaves the others.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "io/model_directory.hpp"
#include "io/model_shapes.hpp"

namespace ss1 {

// Selects the layers that `options` name, or those that are worth it, and resolves their descs. Reports the others.
ss1_status select_layers(ss1_context &context, const model_directory &directory, const ss1_convert_options &options,
                         layer_configs &out);

// Asks options.form for the form of each layer and resolves the descs of those that it changes. Reports the others, and
// those that change their type alone.
ss1_status ask_for_forms(const model_directory &directory, const ss1_convert_options &options, layer_configs &out);

// Lists the layers among `converted` that get one V with `layer`, in their order: by the calibration (NULL: none) they
// read the same rows, such as queries, keys and values, and have no tied part. A run then multiplies x by V once.
ss1_status layers_with_one_v(const ss1_calibration *calibration, const layer_configs &converted,
                             const std::string &layer, std::vector<std::string> &out);

// Whether `pattern` matches all of `text`; '*' matches any run of characters.
bool glob_match(std::string_view pattern, std::string_view text) noexcept;

}  // namespace ss1
