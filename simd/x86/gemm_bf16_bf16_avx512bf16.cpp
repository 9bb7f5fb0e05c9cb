// SPDX-License-Identifier: Apache-2.0
// bf16 GEMM by dot products. Bias, ReLU, residual and rounding are added in registers; for an activation, the sums of a
// panel and tile wait in L1.
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

// The last steps for rows i.. and columns j.. to j + 32 of y.
template <class Y>
struct writer {
    writer(const gemm_fused_args &g, size_t i, size_t j) noexcept
        : mask(g.n - j < nt ? (__mmask32{1} << (g.n - j)) - 1 : ~__mmask32{0}),
          low_bias(g.bias ? _mm512_loadu_ps(g.bias + j) : _mm512_setzero_ps()),
          high_bias(g.bias ? _mm512_loadu_ps(g.bias + j + 16) : _mm512_setzero_ps()),
          y(static_cast<typename Y::element *>(g.y) + i * g.ldy + j),
          r(g.residual ? static_cast<const typename Y::element *>(g.residual) + i * g.ldr + j : nullptr),
          ldy(g.ldy),
          ldr(g.ldr),
          relu(g.relu) {}

    // Writes the next row. An activation has had its bias.
    void write(__m512 low, __m512 high, bool biased) noexcept {
        if (!biased) {
            low = _mm512_add_ps(low, low_bias);
            high = _mm512_add_ps(high, high_bias);
        }
        if (relu) {  // maxps gives its second operand if either is NaN
            low = _mm512_max_ps(_mm512_setzero_ps(), low);
            high = _mm512_max_ps(_mm512_setzero_ps(), high);
        }
        if (r) {
            Y::add(r, mask, low, high);
            r += ldr;
        }
        Y::put(y, mask, low, high);
        y += ldy;
    }

    __mmask32 mask;
    __m512 low_bias, high_bias;
    typename Y::element *y;
    const typename Y::element *r;
    size_t ldy, ldr;
    bool relu;
};

void add_bias(float *sums, const float *bias, size_t rows) noexcept {
    const __m512 low = _mm512_loadu_ps(bias), high = _mm512_loadu_ps(bias + 16);
    for (; rows > 0; rows--, sums += nt) {
        _mm512_store_ps(sums, _mm512_add_ps(_mm512_load_ps(sums), low));
        _mm512_store_ps(sums + 16, _mm512_add_ps(_mm512_load_ps(sums + 16), high));
    }
}

// Activates the sums of tiles [tiles][rows][nt] and writes them to rows i.. and columns j.. of y.
template <class Y>
void activate(const gemm_fused_args &g, float *sums, size_t i, size_t j, size_t rows, size_t tiles) noexcept {
    for (size_t t = 0; g.bias && t < tiles; t++) add_bias(sums + t * rows * nt, g.bias + j + t * nt, rows);
    g.activate({.y = sums, .m = 1, .n = tiles * rows * nt, .ldy = tiles * rows * nt});
    for (size_t t = 0; t < tiles; t++) {
        writer<Y> to(g, i, j + t * nt);
        for (size_t row = 0; row < rows; row++, sums += nt)
            to.write(_mm512_load_ps(sums), _mm512_load_ps(sums + 16), true);
    }
}

template <class Y, size_t rows, size_t tiles, bool prefetch>
inline void block(const gemm_fused_args &g, size_t i, size_t j) noexcept {
    const auto *a = static_cast<const uint16_t *>(g.a) + i * g.lda;
    const auto *b = static_cast<const uint16_t *>(g.b) + j / nt * g.ldb;
    accumulators<rows, tiles> acc;
    multiply<rows, tiles, prefetch>(a, g.lda, b, g.ldb, g.k / kr, acc);
    if (g.activate) {
        alignas(64) float sums[tiles * rows * nt];
        store<rows, tiles>(acc, sums, nt, rows * nt);
        return activate<Y>(g, sums, i, j, rows, tiles);
    }
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; t++) {
        writer<Y> to(g, i, j + t * nt);
#pragma GCC unroll 14
        for (size_t row = 0; row < rows; row++) to.write(acc[row][2 * t], acc[row][2 * t + 1], false);
    }
}

// Few rows take several tiles at once, for enough chains. They do not prefetch: from L3 it slows several streams (1 row
// 93 -> 67 GB/s).
template <class Y, size_t rows, bool prefetch>
void panel(const gemm_fused_args &g, size_t i) noexcept {
    constexpr size_t tiles = rows == 1 ? 4 : rows == 2 ? 3 : rows <= 5 ? 2 : 1;
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + (tiles - 1) * nt < g.n; j += tiles * nt) block<Y, rows, tiles, false>(g, i, j);
    for (; j < g.n; j += nt) block<Y, rows, 1, prefetch && tiles == 1>(g, i, j);
}

template <class Y, bool prefetch>
constexpr void (*by_rows[mr])(const gemm_fused_args &, size_t) noexcept = {
    panel<Y, 1, prefetch>,  panel<Y, 2, prefetch>,  panel<Y, 3, prefetch>,  panel<Y, 4, prefetch>,
    panel<Y, 5, prefetch>,  panel<Y, 6, prefetch>,  panel<Y, 7, prefetch>,  panel<Y, 8, prefetch>,
    panel<Y, 9, prefetch>,  panel<Y, 10, prefetch>, panel<Y, 11, prefetch>, panel<Y, 12, prefetch>,
    panel<Y, 13, prefetch>, panel<Y, 14, prefetch>,
};

template <class Y>
void run(const gemm_fused_args &g) noexcept {
    const size_t panels = (g.m + mr - 1) / mr;
    for (size_t p = 0; p < panels; p++) {
        // Panels of equal height: 15 rows run as 7 + 8, not as 14 + 1. The first one brings the weights to the cache.
        const size_t i = g.m * p / panels, rows = g.m * (p + 1) / panels - i;
        const auto &kernels = p == 0 && g.b_beyond_l2 ? by_rows<Y, true> : by_rows<Y, false>;
        kernels[rows - 1](g, i);
    }
}

}  // namespace

void gemm_bf16_bf16_14x32_avx512bf16(const gemm_fused_args &g) noexcept {
    g.y_bf16 ? run<as_bf16>(g) : run<as_f32>(g);
}

}  // namespace ss1
