// SPDX-License-Identifier: Apache-2.0
// Conversions between f32 and bf16 in registers. Where AVX512-BF16 is not to be had, integer arithmetic rounds; it
// keeps denormals, which vcvtne2ps2bf16 takes for zero.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace ss1 {
namespace {

inline __m512 widened(__m256i v) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_maskz_cvtepu16_epi32(0xffff, v), 16));
}

// Rounds to 16 bf16 in the upper halves of the lanes; the lower halves are garbage. To nearest even; NaN is made quiet.
inline __m512i rounded(__m512 x) noexcept {
    const __m512i bits = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
    const __mmask16 number = _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
    const __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    return _mm512_mask_add_epi32(_mm512_or_si512(bits, _mm512_set1_epi32(0x400000)), number, bits, up);
}

// Packs 32 upper halves of 16 bits. The instruction works in lanes of 128 bits; the permutation restores the order.
inline __m512i upper_halves(__m512i low, __m512i high) noexcept {
    const __m512i packed = _mm512_packus_epi32(_mm512_srli_epi32(low, 16), _mm512_srli_epi32(high, 16));
    return _mm512_maskz_permutexvar_epi64(0xff, _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), packed);
}

inline __m512i narrowed(__m512 low, __m512 high) noexcept {
#ifdef __AVX512BF16__
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
#else
    return upper_halves(rounded(low), rounded(high));
#endif
}

}  // namespace
}  // namespace ss1
