// SPDX-License-Identifier: Apache-2.0
#include "linear.hpp"

namespace ss1::cuda {
namespace {

constexpr unsigned threads = 256;
constexpr size_t max_blocks_y = 65535;

// One thread computes one sketch column; y of the grid strides over rows. Neighbouring threads read neighbouring inputs
// except where a rotation wraps.
__global__ void sketch_kernel_f32(sketch_args a) {
    const size_t column = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (column >= a.groups * a.block_k) return;
    const size_t g = column / a.block_k, u = column % a.block_k;
    const float *from = static_cast<const float *>(a.x);
    float *to = static_cast<float *>(a.s);
    for (size_t i = blockIdx.y; i < a.m; i += gridDim.y) {
        float sum = 0;
        for (size_t q = 0; q < a.c; ++q) {
            const sketch_entry e = a.entries[g * a.c + q];
            const size_t k = (g * a.c + q) * a.block_k + (u + e.rotation) % a.block_k;
            const float x = k < a.k ? from[i * a.ldx + k] : 0.0f;
            sum += e.negative ? -x : x;
        }
        to[i * a.lds + column] = sum;
    }
}

__device__ float apply(activation what, float v) {
    switch (what) {
        case activation::relu:
            return v < 0 ? 0 : v;  // NaN stays NaN
        case activation::gelu:
            return 0.5f * v * (1 + erff(v * 0.70710678f));
        case activation::gelu_tanh:
            return 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
        case activation::tanh:
            return tanhf(v);
        case activation::sigmoid:
            return 1 / (1 + expf(-v));
        case activation::silu:
            return v / (1 + expf(-v));
        default:
            return v;
    }
}

__global__ void finish_kernel_f32(activation what, const float *bias, float *y, size_t m, size_t n, size_t ldy) {
    const size_t j = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (j >= n) return;
    for (size_t i = blockIdx.y; i < m; i += gridDim.y)
        y[i * ldy + j] = apply(what, y[i * ldy + j] + (bias ? bias[j] : 0.0f));
}

dim3 grid(size_t columns, size_t rows) {
    return dim3(static_cast<unsigned>((columns + threads - 1) / threads),
                static_cast<unsigned>(rows < max_blocks_y ? rows : max_blocks_y));
}

}  // namespace

cudaError_t sketch(const sketch_args &args, cudaStream_t stream) {
    sketch_kernel_f32<<<grid(args.groups * args.block_k, args.m), threads, 0, stream>>>(args);
    return cudaGetLastError();
}

cudaError_t finish(activation what, const float *bias, float *y, size_t m, size_t n, size_t ldy, cudaStream_t stream) {
    finish_kernel_f32<<<grid(n, m), threads, 0, stream>>>(what, bias, y, m, n, ldy);
    return cudaGetLastError();
}

}  // namespace ss1::cuda
