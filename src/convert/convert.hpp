// SPDX-License-Identifier: Apache-2.0
// Model directory in, model directory with tied layers out.
#pragma once
#include <string_view>

#include "ss1/ss1.h"

namespace ss1 {

// ss1_model_convert(), its arguments checked for NULL.
ss1_status convert_model(ss1_context &context, const char *directory, const char *output,
                         const ss1_convert_options &options);

// True if all of `text` matches `pattern`, in which '*' stands for any run of characters.
bool glob_match(std::string_view pattern, std::string_view text) noexcept;

}  // namespace ss1
