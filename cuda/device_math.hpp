// SPDX-License-Identifier: Apache-2.0
// What the kernels of several files share: conversions and activations.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "../simd/kernels.hpp"

namespace ss1::cuda {

using bf16 = __nv_bfloat16;

inline constexpr unsigned warp = 32;

inline __device__ float to_f32(float v) {
    return v;
}
inline __device__ float to_f32(bf16 v) {
    return __bfloat162float(v);
}
inline __device__ float to_f32(__half v) {
    return __half2float(v);
}
template <class T>
__device__ T from_f32(float v) {
    if constexpr (sizeof(T) == 2)
        return __float2bfloat16_rn(v);
    else
        return v;
}

// Reads an entry by one load.
inline __device__ sketch_entry entry_of(const sketch_entry *entries, size_t at) {
    const unsigned word = reinterpret_cast<const unsigned *>(entries)[at];
    return {static_cast<uint16_t>(word), static_cast<uint16_t>(word >> 16)};
}

inline __device__ float max_of_warp(float v) {
    for (unsigned step = warp / 2; step; step /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, step));
    return v;
}
inline __device__ float sum_of_warp(float v) {
    for (unsigned step = warp / 2; step; step /= 2) v += __shfl_xor_sync(~0u, v, step);
    return v;
}

inline __device__ float apply(activation what, float v) {
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

// x P(normal <= x). erf by formula 7.1.26 of Abramowitz and Stegun, within 1.5e-7; 1 - erf is not the difference of two
// near numbers, so that small values on the negative side keep their digits.
inline __device__ float gelu_fast(float x) {
    const float z = fabsf(x) * 0.70710678f, t = __fdividef(1, 1 + 0.3275911f * z);
    const float sum =
        t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    const float rest = sum * __expf(-z * z);  // 1 - erf(z)
    return 0.5f * x * (x < 0 ? rest : 2 - rest);
}

}  // namespace ss1::cuda
