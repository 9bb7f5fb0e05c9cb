// SPDX-License-Identifier: Apache-2.0
// What a DLRM does between its layers. All pointers are device memory; each call queues work on `stream`.
#pragma once
#include <cuda_runtime.h>

#include "../simd/kernels.hpp"

namespace ss1::cuda {

struct device_table {
    const void *rows;  // as simd/kernels.hpp lays them out
    size_t count, row_bytes;
    size_t number;  // its place among the vectors of a row of the batch
    row_format format;
    bool mean;
};

// Sums the bags of rows [b0, b0 + m) for each table: bag (t, b) is indices[offsets[t*batch + b] .. the next offset),
// the last one ends at `total`. That of row b goes to y[(b - b0)*ldy + tables[t].number*d ..). Sums run in f32 in the
// order of the indices. *bad becomes 1 if an offset or an index is bad; nothing is read through it, and y is then
// undefined.
//   weights  of each index; NULL: all 1
struct bags_args {
    const device_table *tables;
    size_t n_tables;
    const int64_t *indices, *offsets;
    const float *weights;
    size_t total, batch, b0, m, d;
    float *y;
    size_t ldy;
    int *bad;
};
cudaError_t sum_bags(const bags_args &args, cudaStream_t stream);

// Writes x[0, n) to m rows of y.
cudaError_t repeat_row(const float *x, size_t n, float *y, size_t m, size_t ldy, cudaStream_t stream);

// z = [t_0, what interact() of simd/kernels.hpp gives], as the top MLP reads it.
cudaError_t interact(const interact_args &args, cudaStream_t stream);

// cross() of simd/kernels.hpp.
cudaError_t cross(const cross_args &args, cudaStream_t stream);

// p = sigmoid(logit), at least `low` and at most 1 - low; NaN stays.
cudaError_t finish_probability(const float *logits, float *p, size_t m, float low, float high, cudaStream_t stream);

}  // namespace ss1::cuda
