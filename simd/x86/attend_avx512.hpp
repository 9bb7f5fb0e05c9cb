// SPDX-License-Identifier: Apache-2.0
// The attention kernels for AVX-512 share these: the transposition of keys, exponentials, and masked scores.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace ss1 {
namespace {

// Transposes 16 x 16 pairs: pair i of row j becomes pair j of row i.
inline void transpose(__m512i (&r)[16]) noexcept {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

// Where the maximum of scores begins. Finite: if -inf hides all keys so far, their weights are 0, not NaN.
constexpr float least_max = -3.402823466e38f;

// 2^x for x <= 0: relative error 3e-6 at most, far below that of a weight rounded to bf16. NaN stays NaN; from -150
// on it is 0. p stands for 2^f, 0 <= f < 1: scalef() takes the floor of x by itself.
inline __m512 exp2(__m512 x) noexcept {
    const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(1.35341681e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.20114603e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.41442757e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93003834e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000259f));
    return _mm512_scalef_ps(p, x);
}

// Loads 16 scores of a row; keys that do not exist get -inf.
template <bool masked>
inline __m512 score(const float *s, const float *mask, size_t left) noexcept {
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
    if (left >= 16) return masked ? _mm512_add_ps(_mm512_loadu_ps(s), _mm512_loadu_ps(mask)) : _mm512_loadu_ps(s);
    const auto lanes = static_cast<__mmask16>((1u << left) - 1);
    const __m512 v = _mm512_mask_loadu_ps(lowest, lanes, s);
    return masked ? _mm512_mask_add_ps(lowest, lanes, v, _mm512_maskz_loadu_ps(lanes, mask)) : v;
}

}  // namespace
}  // namespace ss1
