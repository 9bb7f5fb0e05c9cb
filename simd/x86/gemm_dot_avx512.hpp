// SPDX-License-Identifier: Apache-2.0
// Fused GEMM by dot products, of bf16 or of int8. Scales, bias, ReLU, residual and rounding are applied in registers;
// for an activation, the sums of a panel and tile wait in L1.
#pragma once
#include "kernels.hpp"
#include "x86/bf16_avx512.hpp"
#include "x86/dot_avx512.hpp"

namespace ss1 {
namespace {

// Reads and writes 32 values of y and of the residual.
struct as_bf16 {
    using element = uint16_t;
    static void add(const element *r, __mmask32 mask, __m512 &low, __m512 &high) noexcept {
        const __m512i v = _mm512_maskz_loadu_epi16(mask, r);
        low = _mm512_add_ps(low, widened(_mm512_castsi512_si256(v)));
        high = _mm512_add_ps(high, widened(_mm512_maskz_extracti64x4_epi64(0xff, v, 1)));
    }
    static void put(element *y, __mmask32 mask, __m512 low, __m512 high) noexcept {
        _mm512_mask_storeu_epi16(y, mask, narrowed(low, high));
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

// What sums of columns j to j + 32 begin with, and the values that they stand for.
struct bf16_sums {
    using dot = pairs_of_bf16;

    bf16_sums(const gemm_fused_args &g, size_t j) noexcept
        : low_bias(g.bias ? _mm512_loadu_ps(g.bias + j) : _mm512_setzero_ps()),
          high_bias(g.bias ? _mm512_loadu_ps(g.bias + j + 16) : _mm512_setzero_ps()) {}

    static __m512 start(const gemm_fused_args &, size_t) noexcept { return _mm512_setzero_ps(); }
    __m512 low(__m512 sum, size_t) const noexcept { return _mm512_add_ps(sum, low_bias); }
    __m512 high(__m512 sum, size_t) const noexcept { return _mm512_add_ps(sum, high_bias); }

    __m512 low_bias, high_bias;
};
struct int8_sums {
    using dot = quads_of_bytes;

    int8_sums(const gemm_fused_args &g, size_t j) noexcept
        : row_scale(g.row_scale),
          low_scale(_mm512_loadu_ps(g.column_scale + j)),
          high_scale(_mm512_loadu_ps(g.column_scale + j + 16)),
          low_bias(g.bias ? _mm512_loadu_ps(g.bias + j) : _mm512_setzero_ps()),
          high_bias(g.bias ? _mm512_loadu_ps(g.bias + j + 16) : _mm512_setzero_ps()) {}

    static __m512i start(const gemm_fused_args &g, size_t j) noexcept {
        return g.column_start ? _mm512_loadu_si512(g.column_start + j) : _mm512_setzero_si512();
    }
    __m512 low(__m512i sum, size_t row) const noexcept { return value(sum, row, low_scale, low_bias); }
    __m512 high(__m512i sum, size_t row) const noexcept { return value(sum, row, high_scale, high_bias); }
    __m512 value(__m512i sum, size_t row, __m512 column_scale, __m512 bias) const noexcept {
        const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(row_scale[row]), column_scale);
        return _mm512_add_ps(_mm512_mul_ps(scale, _mm512_maskz_cvtepi32_ps(0xffff, sum)), bias);
    }

    const float *row_scale;
    __m512 low_scale, high_scale, low_bias, high_bias;
};

// Writes rows from i on and columns j to j + 32 of y.
template <class Y>
struct writer {
    writer(const gemm_fused_args &g, size_t i, size_t j) noexcept
        : mask(g.n - j < nt ? (__mmask32{1} << (g.n - j)) - 1 : ~__mmask32{0}),
          y(static_cast<typename Y::element *>(g.y) + i * g.ldy + j),
          r(g.residual ? static_cast<const typename Y::element *>(g.residual) + i * g.ldr + j : nullptr),
          ldy(g.ldy),
          ldr(g.ldr),
          relu(g.relu) {}

    void write_row(__m512 low, __m512 high) noexcept {
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
    typename Y::element *y;
    const typename Y::element *r;
    size_t ldy, ldr;
    bool relu;
};

// Activates the values of tiles [tiles][rows][nt] and writes them to rows i.. and columns j.. of y.
template <class Y>
void activate(const gemm_fused_args &g, float *values, size_t i, size_t j, size_t rows, size_t tiles) noexcept {
    g.activate({.y = values, .m = 1, .n = tiles * rows * nt, .ldy = tiles * rows * nt});
    for (size_t t = 0; t < tiles; t++) {
        writer<Y> to(g, i, j + t * nt);
        for (size_t row = 0; row < rows; row++, values += nt)
            to.write_row(_mm512_load_ps(values), _mm512_load_ps(values + 16));
    }
}

template <class Sums, class Y, size_t rows, size_t tiles, bool prefetch>
inline void block(const gemm_fused_args &g, size_t i, size_t j) noexcept {
    using dot = typename Sums::dot;
    using value = typename dot::value;
    const auto *a = static_cast<const value *>(g.a) + i * g.lda;
    const auto *b = static_cast<const value *>(g.b) + j / nt * g.ldb;
    accumulators<dot, rows, tiles> acc;
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        const auto start = Sums::start(g, j + 16 * v);
#pragma GCC unroll 14
        for (size_t row = 0; row < rows; row++) acc[row][v] = start;
    }
    multiply<dot, rows, tiles, prefetch>(a, g.lda, b, g.ldb, g.k, acc);
    if (g.activate) {
        alignas(64) float values[tiles * rows * nt];
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++) {
            const Sums of(g, j + t * nt);
#pragma GCC unroll 14
            for (size_t row = 0; row < rows; row++) {
                float *to = values + (t * rows + row) * nt;
                _mm512_store_ps(to, of.low(acc[row][2 * t], i + row));
                _mm512_store_ps(to + 16, of.high(acc[row][2 * t + 1], i + row));
            }
        }
        return activate<Y>(g, values, i, j, rows, tiles);
    }
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; t++) {
        const Sums of(g, j + t * nt);
        writer<Y> to(g, i, j + t * nt);
#pragma GCC unroll 14
        for (size_t row = 0; row < rows; row++)
            to.write_row(of.low(acc[row][2 * t], i + row), of.high(acc[row][2 * t + 1], i + row));
    }
}

// Few rows take several tiles at once, for enough chains. They do not prefetch: from L3 it slows several streams (1 row
// of bf16 93 -> 67 GB/s).
template <class Sums, class Y, size_t rows, bool prefetch>
void panel(const gemm_fused_args &g, size_t i) noexcept {
    constexpr size_t tiles = rows == 1 ? 4 : rows == 2 ? 3 : rows <= 5 ? 2 : 1;
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + (tiles - 1) * nt < g.n; j += tiles * nt) block<Sums, Y, rows, tiles, false>(g, i, j);
    for (; j < g.n; j += nt) block<Sums, Y, rows, 1, prefetch && tiles == 1>(g, i, j);
}

template <class Sums, class Y, bool prefetch>
constexpr void (*by_rows[mr])(const gemm_fused_args &, size_t) noexcept = {
    panel<Sums, Y, 1, prefetch>,  panel<Sums, Y, 2, prefetch>,  panel<Sums, Y, 3, prefetch>,
    panel<Sums, Y, 4, prefetch>,  panel<Sums, Y, 5, prefetch>,  panel<Sums, Y, 6, prefetch>,
    panel<Sums, Y, 7, prefetch>,  panel<Sums, Y, 8, prefetch>,  panel<Sums, Y, 9, prefetch>,
    panel<Sums, Y, 10, prefetch>, panel<Sums, Y, 11, prefetch>, panel<Sums, Y, 12, prefetch>,
    panel<Sums, Y, 13, prefetch>, panel<Sums, Y, 14, prefetch>,
};

template <class Sums, class Y>
void run(const gemm_fused_args &g) noexcept {
    const size_t panels = (g.m + mr - 1) / mr;
    for (size_t p = 0; p < panels; p++) {
        // Panels of equal height: 15 rows run as 7 + 8, not as 14 + 1. The first one brings the weights to the cache.
        const size_t i = g.m * p / panels, rows = g.m * (p + 1) / panels - i;
        const auto &kernels = p == 0 && g.b_beyond_l2 ? by_rows<Sums, Y, true> : by_rows<Sums, Y, false>;
        kernels[rows - 1](g, i);
    }
}

template <class Sums>
void gemm(const gemm_fused_args &g) noexcept {
    g.y_bf16 ? run<Sums, as_bf16>(g) : run<Sums, as_f32>(g);
}

}  // namespace
}  // namespace ss1
