// SPDX-License-Identifier: Apache-2.0
// The kernels of the CUDA backend. All pointers are device memory; each call queues work on `stream`.
#pragma once
#include <cuda_runtime.h>

#include "../simd/kernels.hpp"

namespace ss1::cuda {

// The one sketch of a layer, for kernels that make x: c * columns inputs of bf16 give `columns` values of bf16; all
// rotations are multiples of 8. entries (device memory) NULL: no such sketch.
struct sketch_form {
    const sketch_entry *entries = nullptr;
    unsigned c = 0, block_k = 0, columns = 0;
};

// The sketch of simd/kernels.hpp: sums in f32 over ascending q, rounded once to s (f32 or bf16). block_k is a multiple
// of 16, x is f32, bf16 or f16, all rotations are multiples of `step`, s lies at a multiple of 32 bytes, lds and
// sketch_stride are multiples of 16.
cudaError_t sketch(const sketch_args &args, size_t step, dtype x, dtype s, cudaStream_t stream);
// The sketch in bf16 of f(x), x bf16: f in f32 (GELU by a fast erf), not rounded. Rows and rotations are whole
// multiples of 16 bytes.
cudaError_t sketch_activated(const sketch_args &args, activation f, cudaStream_t stream);

// The same sketch, quantised as simd/ref/quantize_ref.cpp does with zero = 0: s is s8.
//   row_scale  [m, sketches]
cudaError_t sketch_quantized(const sketch_args &args, size_t step, dtype x, float *row_scale, cudaStream_t stream);

// Copies `width` bytes of each of m rows of `row` bytes to `copies` places, `stride` bytes apart. All but m and copies
// are multiples of 16.
struct repeat_args {
    void *from;
    size_t m, row, width, stride, copies;
};
cudaError_t repeat_columns(const repeat_args &args, cudaStream_t stream);

// finish:  y[i,j] = act(sum[i,j] + bias[j]) + residual[i,j], rounded once to y
//   sums      [m, lds] f32; s32 if row_scale is given, and sum = row_scale * column_scale * s32
//   row_scale [m, scales]; output j has column j % part / block
//   bias, residual [m, ldr] of type y: may be NULL
struct finish_args {
    const void *sums;
    size_t lds;
    const float *row_scale, *column_scale;
    size_t scales, part, block;
    const float *bias;
    activation what;
    const void *residual;
    size_t ldr;
    void *y;
    dtype y_type;
    size_t m, n, ldy;
};
cudaError_t finish(const finish_args &args, cudaStream_t stream);

// For the choice of algorithms: fills memory with numbers of [-1, 1) (s8: of all values), the same ones each time.
cudaError_t fill(void *values, size_t count, dtype type, cudaStream_t stream);
// Adds the number of 32-bit words that differ to *count.
cudaError_t count_differences(const void *a, const void *b, size_t words, unsigned *count, cudaStream_t stream);

}  // namespace ss1::cuda
