// SPDX-License-Identifier: Apache-2.0
// Between dense and tied weights. All take a resolved desc; matrices are row-major f32 as PyTorch stores them.
#pragma once
#include "ss1/ss1.h"

namespace ss1 {

// weight [N, K] -> z [N, Kz]: the mean of the tied entries, or with `moment` [K, K] the fit to the layer's output.
// SS1_ERROR_INVALID_ARGUMENT if `moment` is not finite and positive semidefinite; z is then as it was.
ss1_status project(const ss1_linear_desc &desc, const float *weight, size_t ldw, const float *moment, float *z,
                   size_t ldz);

// z [N, Kz] -> weight [N, K]: what the stored values stand for.
void expand(const ss1_linear_desc &desc, const float *z, size_t ldz, float *weight, size_t ldw);

}  // namespace ss1
