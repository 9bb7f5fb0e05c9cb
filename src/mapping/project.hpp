// SPDX-License-Identifier: Apache-2.0
// Converts between dense and stored weights. All functions take a resolved desc; matrices are row-major f32 as PyTorch
// stores them.
#pragma once
#include "ss1/ss1.h"

namespace ss1 {

// Projects weight [N, K] to z [N, Kz]: the mean of the tied entries, or with `moment` [K, K] the best fit to the
// layer's output. Fails with SS1_ERROR_INVALID_ARGUMENT, z unchanged, if `moment` is not finite, symmetric and positive
// semidefinite.
ss1_status project(const ss1_linear_desc &desc, const float *weight, size_t ldw, const float *moment, float *z,
                   size_t ldz);

// Expands z [N, Kz], u [N, rank] and v [rank, K] to the dense weight [N, K] that they stand for.
void expand(const ss1_linear_desc &desc, const ss1_linear_weights &from, float *weight, size_t ldw);

}  // namespace ss1
