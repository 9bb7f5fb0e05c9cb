// SPDX-License-Identifier: Apache-2.0
// Store on AVX-512. Integer arithmetic rounds to bf16, as this level lacks the instruction.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/bf16_avx512.hpp"

namespace ss1 {
namespace {

// Masks the lanes below `count`, of 32.
inline __mmask32 below(size_t count) noexcept {
    return count < 32 ? (__mmask32{1} << count) - 1 : ~__mmask32{0};
}

// Stores those of 32 elements of a row that are in `mask`.
inline void store_32(const float *c, uint16_t *y, const uint16_t *residual, __mmask32 mask) noexcept {
    __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), c);
    __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), c + 16);
    const __m512i r = residual ? _mm512_maskz_loadu_epi16(mask, residual) : _mm512_setzero_si512();
    low = _mm512_add_ps(low, widened(_mm512_castsi512_si256(r)));
    high = _mm512_add_ps(high, widened(_mm512_maskz_extracti64x4_epi64(0xff, r, 1)));
    _mm512_mask_storeu_epi16(y, mask, narrowed(low, high));
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
