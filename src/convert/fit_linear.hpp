// SPDX-License-Identifier: Apache-2.0
// ss1_linear_fit(): checks and f32 arrays around mapping/fit.hpp.
#pragma once
#include <cstddef>

#include "ss1/ss1.h"

namespace ss1 {

// `desc` is resolved and has kz stored columns.
ss1_status fit_linear(const ss1_linear_desc &desc, size_t kz, const ss1_fit_args &args);

}  // namespace ss1
