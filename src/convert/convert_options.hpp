// SPDX-License-Identifier: Apache-2.0
// Checks of ss1_convert_options.
#pragma once
#include "ss1/ss1.h"

namespace ss1 {

// Whether layers become tied or get a low-rank part. Otherwise they keep their weights, and at most the types of
// weights and tables change.
inline bool reforms(const ss1_convert_options &options) noexcept {
    return options.form || options.desc->c >= 2 || options.desc->rank || options.share > 0;
}

// Whether a layer of this desc has parts beside or instead of a dense weight.
inline bool has_parts(const ss1_linear_desc &desc) noexcept {
    return desc.c >= 2 || desc.rank > 0;
}

// Whether the embedding tables change and the layers do not.
bool tables_alone(const ss1_convert_options &options) noexcept;

// Checks all fields that need no model.
ss1_status check_options(const ss1_convert_options &options);

}  // namespace ss1
