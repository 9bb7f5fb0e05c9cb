// SPDX-License-Identifier: Apache-2.0
// Attention over packed sequences on the device.
#pragma once
#include <cuda_runtime.h>

#include "../simd/kernels.hpp"

namespace ss1::cuda {

inline constexpr size_t max_head_size = 128;

// y[i,:] = sum_j w[i,j] * v[j,:] / sum_j w[i,j],  w[i,j] = exp(scale * (<q_i, k_j> + mask[j] - their maximum)), for the
// tokens i and j of one sequence and one head. Sums run in f32; for bf16 values w is rounded to bf16 before it
// multiplies v. The bits of a row depend on its own sequence alone: queries and keys are cut into blocks from the
// sequence's start on.
//   qkv      [rows, 3 * heads * d] of `type`, f32 or bf16: queries, keys, values; rows at multiples of 16 bytes
//   starts   [batch + 1] rows at which the sequences start; none is empty or longer than `longest`
//   mask     [rows], 0 or a number that hides the key; NULL: all 0
//   y        [rows, heads * d] of `type`; d <= max_head_size
struct attention_args {
    const void *qkv;
    const int *starts;
    const float *mask;
    void *y;
    size_t batch, heads, d, longest;
    dtype type;
};
cudaError_t attend(const attention_args &args, cudaStream_t stream);

}  // namespace ss1::cuda
