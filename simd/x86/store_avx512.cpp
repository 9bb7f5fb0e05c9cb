// SPDX-License-Identifier: Apache-2.0
// Store on AVX-512. Integer arithmetic rounds to bf16: vcvtne2ps2bf16 takes denormals for zero and needs another ISA.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

// Masks the lanes below `count`, of 32.
inline __mmask32 below(size_t count) noexcept {
    return count < 32 ? (__mmask32{1} << count) - 1 : ~__mmask32{0};
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

inline __m512 widened(__m256i v) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_maskz_cvtepu16_epi32(0xffff, v), 16));
}

// Stores those of 32 elements of a row that are in `mask`.
inline void store_32(const float *c, uint16_t *y, const uint16_t *residual, __mmask32 mask) noexcept {
    __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), c);
    __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), c + 16);
    const __m512i r = residual ? _mm512_maskz_loadu_epi16(mask, residual) : _mm512_setzero_si512();
    low = _mm512_add_ps(low, widened(_mm512_castsi512_si256(r)));
    high = _mm512_add_ps(high, widened(_mm512_maskz_extracti64x4_epi64(0xff, r, 1)));
    _mm512_mask_storeu_epi16(y, mask, upper_halves(rounded(low), rounded(high)));
}

}  // namespace

void store_f32_avx512(const store_args &args) noexcept {
    for (size_t i = 0; i < args.m; i++) {
        const float *c = args.c + i * args.ldc;
        const float *residual = args.residual ? static_cast<const float *>(args.residual) + i * args.ldr : nullptr;
        float *y = static_cast<float *>(args.y) + i * args.ldy;
        size_t j = 0;
        for (; j + 16 <= args.n; j += 16) {
            const __m512 r = residual ? _mm512_loadu_ps(residual + j) : _mm512_setzero_ps();
            _mm512_storeu_ps(y + j, _mm512_add_ps(_mm512_loadu_ps(c + j), r));
        }
        if (j == args.n) continue;
        const auto mask = static_cast<__mmask16>(below(args.n - j));
        const __m512 r = residual ? _mm512_maskz_loadu_ps(mask, residual + j) : _mm512_setzero_ps();
        _mm512_mask_storeu_ps(y + j, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c + j), r));
    }
}

void store_bf16_avx512(const store_args &args) noexcept {
    for (size_t i = 0; i < args.m; i++) {
        const float *c = args.c + i * args.ldc;
        const uint16_t *r = args.residual ? static_cast<const uint16_t *>(args.residual) + i * args.ldr : nullptr;
        uint16_t *y = static_cast<uint16_t *>(args.y) + i * args.ldy;
        size_t j = 0;
        for (; j + 32 <= args.n; j += 32) store_32(c + j, y + j, r ? r + j : nullptr, ~__mmask32{0});
        if (j < args.n) store_32(c + j, y + j, r ? r + j : nullptr, below(args.n - j));
    }
}

}  // namespace ss1
