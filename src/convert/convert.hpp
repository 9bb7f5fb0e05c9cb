// SPDX-License-Identifier: Apache-2.0
// Converts a model directory to one with tied layers or other types.
#pragma once
#include "ss1/ss1.h"

namespace ss1 {

// Implements ss1_model_convert() after its NULL checks.
ss1_status convert_model(ss1_context &context, const char *directory, const char *output,
                         const ss1_convert_options &options);

}  // namespace ss1
