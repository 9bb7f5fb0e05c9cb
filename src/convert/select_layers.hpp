// SPDX-License-Identifier: Apache-2.0
// Which layers of a model a conversion changes, and why it leaves the others.
#pragma once
#include <string_view>

#include "io/model_directory.hpp"

namespace ss1 {

// Whether layers become tied or get a low-rank part. Otherwise they keep their weights, and at most the types of
// weights and tables change.
inline bool reforms(const ss1_convert_options &options) noexcept {
    return options.desc->c >= 2 || options.desc->rank || options.share > 0;
}

// Selects the layers that `options` name, or those that are worth it, and resolves their descs. Reports the others.
ss1_status select_layers(ss1_context &context, const model_directory &directory, const ss1_convert_options &options,
                         layer_configs &out);

// Whether `pattern` matches all of `text`; '*' matches any run of characters.
bool glob_match(std::string_view pattern, std::string_view text) noexcept;

}  // namespace ss1
