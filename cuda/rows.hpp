// SPDX-License-Identifier: Apache-2.0
// What a BERT does to rows between its layers. All pointers are device memory; each call queues work on `stream`.
#pragma once
#include <cuda_runtime.h>

#include "../simd/kernels.hpp"
#include "kernels.hpp"

namespace ss1::cuda {

// y = (t - mean(t)) / sqrt(var(t) + eps) * gamma + beta for m rows of n values, in f32.
struct norm_to {
    const float *gamma, *beta;
    float *y;     // f32, and
    void *half;   // rounded to bf16; NULL: not needed
    size_t m, n;  // all matrices have rows of n values
    float eps;
    sketch_form sketch;  // with entries, half [m, columns] is this sketch of the rounded y
};
// Whether norms of n values can give a sketch.
constexpr bool can_sketch_norm(size_t n) {
    return n % 8 == 0 && n <= 1024;
}
// t = x + residual; x is f32 or bf16, residual may be NULL or y.
cudaError_t normalize(const void *x, dtype x_type, const float *residual, const norm_to &to, cudaStream_t stream);
// t = word[ids[i]] + type[types[i]] + position[positions[i]] of row i; position or type NULL: none is added.
struct token_rows {
    const float *word, *position, *type;
    const int *ids, *positions, *types;
};
cudaError_t embed(const token_rows &tokens, const norm_to &to, cudaStream_t stream);

// half = x for `count` values.
cudaError_t round_to_bf16(const float *x, void *half, size_t count, cudaStream_t stream);

// y = f(y) for `count` bf16 values, a multiple of 8: f in f32 (GELU by a fast erf), rounded.
cudaError_t activate(void *y, size_t count, activation what, cudaStream_t stream);

// y[b,t,:] = x[starts[b] + t,:], zeros behind the end of sequence b.
struct unpack_args {
    const float *x;
    size_t ldx;
    const int *starts;
    float *y;
    size_t batch, tokens, n;
};
cudaError_t unpack(const unpack_args &args, cudaStream_t stream);
// y[b,:] = x[starts[b],:]: the first token of each sequence.
cudaError_t first_rows(const float *x, const int *starts, float *y, size_t batch, size_t n, cudaStream_t stream);

}  // namespace ss1::cuda
