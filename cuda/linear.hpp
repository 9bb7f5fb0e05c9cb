// SPDX-License-Identifier: Apache-2.0
// The device side of the CUDA backend: the functions of linear.cu that backend.cpp calls.
#pragma once
#include <cuda_runtime.h>

#include "kernels.hpp"

namespace ss1::cuda {

// Computes s[i, g*B_K + u] = sum_q sign * x[i, (g*c+q)*B_K + (u + rotation) mod B_K] on the device; see sketch_args.
cudaError_t sketch(const sketch_args &args, cudaStream_t stream);

// Computes y[i,j] = f(y[i,j] + bias[j]) in place; bias may be NULL.
cudaError_t finish(activation what, const float *bias, float *y, size_t m, size_t n, size_t ldy, cudaStream_t stream);

}  // namespace ss1::cuda
