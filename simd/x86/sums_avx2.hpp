// SPDX-License-Identifier: Apache-2.0
// The end of the int8 kernels on 8 lanes: converts s32 sums to y.
#pragma once
#include <immintrin.h>

#include <cstddef>

namespace ss1 {
namespace {

// Masks the first `count` of 8 lanes.
inline __m256i mask_of(size_t count) noexcept {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count < 8 ? static_cast<int>(count) : 8), lanes);
}

// Writes 8 sums of one row to y. maxps gives its second operand if either is NaN.
inline void finish(__m256i sum, __m256 row_scale, __m256 column_scale, __m256 bias, bool relu, float *y,
                   size_t count) noexcept {
    const __m256 scaled = _mm256_mul_ps(_mm256_mul_ps(row_scale, column_scale), _mm256_cvtepi32_ps(sum));
    __m256 value = _mm256_add_ps(scaled, bias);
    if (relu) value = _mm256_max_ps(_mm256_setzero_ps(), value);
    if (count >= 8) {
        _mm256_storeu_ps(y, value);
    } else {
        _mm256_maskstore_ps(y, mask_of(count), value);
    }
}

}  // namespace
}  // namespace ss1
