// SPDX-License-Identifier: Apache-2.0
// bf16 GEMM by dot products. A panel's sums of a tile wait in L1 for bias, activation, residual and rounding.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/dot_bf16_avx512.hpp"

namespace ss1 {
namespace {

// Reads and writes 32 values of y and of the residual.
struct as_bf16 {
    using element = uint16_t;
    static void add(const element *r, __mmask32 mask, __m512 &low, __m512 &high) noexcept {
        const __m512i v = _mm512_maskz_loadu_epi16(mask, r);
        const __m256i r_low = _mm512_castsi512_si256(v), r_high = _mm512_extracti64x4_epi64(v, 1);
        low = _mm512_add_ps(low, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(r_low), 16)));
        high = _mm512_add_ps(high, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(r_high), 16)));
    }
    static void put(element *y, __mmask32 mask, __m512 low, __m512 high) noexcept {
        _mm512_mask_storeu_epi16(y, mask, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
    }
};

struct as_f32 {
    using element = float;
    static void add(const element *r, __mmask32 mask, __m512 &low, __m512 &high) noexcept {
        low = _mm512_add_ps(low, _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), r));
        high = _mm512_add_ps(high, _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), r + 16));
    }
    static void put(element *y, __mmask32 mask, __m512 low, __m512 high) noexcept {
        _mm512_mask_storeu_ps(y, static_cast<__mmask16>(mask), low);
        _mm512_mask_storeu_ps(y + 16, static_cast<__mmask16>(mask >> 16), high);
    }
};

// Writes the sums [rows][nt] of a tile to rows i.. and columns j.. of y. They have the bias already if `biased`.
template <class Y>
void write(const gemm_fused_args &g, const float *sums, size_t i, size_t j, size_t rows, bool biased) noexcept {
    const __mmask32 mask = g.n - j < nt ? (__mmask32{1} << (g.n - j)) - 1 : ~__mmask32{0};
    const bool add_bias = g.bias && !biased;
    const __m512 bias_low = add_bias ? _mm512_loadu_ps(g.bias + j) : _mm512_setzero_ps();
    const __m512 bias_high = add_bias ? _mm512_loadu_ps(g.bias + j + 16) : _mm512_setzero_ps();
    auto *y = static_cast<typename Y::element *>(g.y) + i * g.ldy + j;
    const auto *r = static_cast<const typename Y::element *>(g.residual);
    if (r) r += i * g.ldr + j;
    for (; rows > 0; rows--, sums += nt, y += g.ldy) {
        __m512 low = _mm512_add_ps(_mm512_load_ps(sums), bias_low);
        __m512 high = _mm512_add_ps(_mm512_load_ps(sums + 16), bias_high);
        if (g.relu) {  // maxps gives its second operand if either is NaN
            low = _mm512_max_ps(_mm512_setzero_ps(), low);
            high = _mm512_max_ps(_mm512_setzero_ps(), high);
        }
        if (r) {
            Y::add(r, mask, low, high);
            r += g.ldr;
        }
        Y::put(y, mask, low, high);
    }
}

void add_bias(float *sums, const float *bias, size_t rows) noexcept {
    const __m512 low = _mm512_loadu_ps(bias), high = _mm512_loadu_ps(bias + 16);
    for (; rows > 0; rows--, sums += nt) {
        _mm512_store_ps(sums, _mm512_add_ps(_mm512_load_ps(sums), low));
        _mm512_store_ps(sums + 16, _mm512_add_ps(_mm512_load_ps(sums + 16), high));
    }
}

template <size_t rows, size_t tiles, bool prefetch>
inline void block(const gemm_fused_args &g, size_t i, size_t j) noexcept {
    alignas(64) float sums[tiles * rows * nt];
    const auto *a = static_cast<const uint16_t *>(g.a) + i * g.lda;
    const auto *b = static_cast<const uint16_t *>(g.b) + j / nt * g.ldb;
    multiply<rows, tiles, prefetch>(a, g.lda, b, g.ldb, g.k / kr, sums, nt, rows * nt);
    if (g.activate) {
        for (size_t t = 0; g.bias && t < tiles; t++) add_bias(sums + t * rows * nt, g.bias + j + t * nt, rows);
        g.activate({.y = sums, .m = 1, .n = tiles * rows * nt, .ldy = tiles * rows * nt});
    }
    for (size_t t = 0; t < tiles; t++) {
        const float *tile = sums + t * rows * nt;
        g.y_bf16 ? write<as_bf16>(g, tile, i, j + t * nt, rows, g.activate)
                 : write<as_f32>(g, tile, i, j + t * nt, rows, g.activate);
    }
}

// Few rows take several tiles at once, for enough chains. They do not prefetch: from L3 it slows several streams (1 row
// 93 -> 67 GB/s).
template <size_t rows, bool prefetch>
void panel(const gemm_fused_args &g, size_t i) noexcept {
    constexpr size_t tiles = rows == 1 ? 4 : rows == 2 ? 3 : rows <= 5 ? 2 : 1;
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + (tiles - 1) * nt < g.n; j += tiles * nt) block<rows, tiles, false>(g, i, j);
    for (; j < g.n; j += nt) block<rows, 1, prefetch && tiles == 1>(g, i, j);
}

template <bool prefetch>
constexpr void (*by_rows[mr])(const gemm_fused_args &, size_t) noexcept = {
    panel<1, prefetch>,  panel<2, prefetch>,  panel<3, prefetch>,  panel<4, prefetch>,  panel<5, prefetch>,
    panel<6, prefetch>,  panel<7, prefetch>,  panel<8, prefetch>,  panel<9, prefetch>,  panel<10, prefetch>,
    panel<11, prefetch>, panel<12, prefetch>, panel<13, prefetch>, panel<14, prefetch>,
};

}  // namespace

void gemm_bf16_bf16_14x32_avx512bf16(const gemm_fused_args &g) noexcept {
    const size_t panels = (g.m + mr - 1) / mr;
    for (size_t p = 0; p < panels; p++) {
        // Panels of equal height: 15 rows run as 7 + 8, not as 14 + 1. The first one brings the weights to the cache.
        const size_t i = g.m * p / panels, rows = g.m * (p + 1) / panels - i;
        const auto &kernels = p == 0 && g.b_beyond_l2 ? by_rows<true> : by_rows<false>;
        kernels[rows - 1](g, i);
    }
}

}  // namespace ss1
