// SPDX-License-Identifier: Apache-2.0
// int8 GEMM on AVX2, exact: both operands are widened to s16, and vpmaddwd adds pairs of products to an s32 (vpmaddubsw
// would saturate). Up to 6 rows x 16 columns take 12 accumulators, 2 registers for B, 1 for a broadcast of A and 1 for
// sums of pairs: all 16. A is widened once a call, into L1, so that a pair costs one broadcasting load; loads widen B.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/sums_avx2.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 16, kr = 2, max_rows = 6;
constexpr size_t prefetch_distance = 1024;  // bytes
constexpr size_t piece = 2048;              // k's of A at a time: 6 rows are 24 KB of s16

struct widened {
    int16_t a[max_rows][piece + 16];  // the distance of rows is not a power of two
};

// Widens columns [k, k + count) of all rows of A.
template <size_t rows>
inline void widen(const gemm_panel_args &g, size_t k, size_t count, widened &to) noexcept {
    for (size_t i = 0; i < rows; i++) {
        const int8_t *a = static_cast<const int8_t *>(g.a) + i * g.lda + k;
        size_t u = 0;
        for (; u + 16 <= count; u += 16) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(a + u));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(to.a[i] + u), _mm256_cvtepi8_epi16(bytes));
        }
        for (; u < count; u++) to.a[i][u] = a[u];
    }
}

// Broadcasts 2 neighbours of a row of A to all lanes.
inline __m256i broadcast(const int16_t *a) noexcept {
    int32_t pair;
    __builtin_memcpy(&pair, a, sizeof pair);
    return _mm256_set1_epi32(pair);
}

// Loads 8 columns of 2 k's.
inline __m256i load_b(const int8_t *b) noexcept {
    return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i *>(b)));
}

// Computes `rows` rows x `tiles` tiles of y from column j on. If k is more than one piece, each block widens A again.
template <size_t rows, size_t tiles>
inline void block(const gemm_panel_args &g, size_t j, widened &wide) noexcept {
    const int8_t *b = static_cast<const int8_t *>(g.b) + j / nt * g.ldb;
    __m256i acc[rows][2 * tiles];
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        const __m256i start = g.column_start
                                  ? _mm256_loadu_si256(reinterpret_cast<const __m256i *>(g.column_start + j + 8 * v))
                                  : _mm256_setzero_si256();
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) acc[i][v] = start;
    }
    for (size_t k0 = 0; k0 < g.k; k0 += piece) {
        const size_t count = g.k - k0 < piece ? g.k - k0 : piece;
        if (g.k > piece) widen<rows>(g, k0, count, wide);
        for (size_t k = 0; k < count; k += kr, b += nt * kr) {
            __m256i bk[2 * tiles];
#pragma GCC unroll 4
            for (size_t t = 0; t < tiles; t++) {
                const int8_t *tile = b + t * g.ldb;
                bk[2 * t] = load_b(tile);
                bk[2 * t + 1] = load_b(tile + 16);
                _mm_prefetch(reinterpret_cast<const char *>(tile + prefetch_distance), _MM_HINT_T0);
            }
#pragma GCC unroll 6
            for (size_t i = 0; i < rows; i++) {
                const __m256i ak = broadcast(wide.a[i] + k);
#pragma GCC unroll 8
                for (size_t v = 0; v < 2 * tiles; v++)
                    acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_madd_epi16(ak, bk[v]));
            }
        }
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        const size_t column = j + 8 * v;
        if (column >= g.n) break;
        const __m256 scale = _mm256_loadu_ps(g.column_scale + column);
        const __m256 bias = g.bias ? _mm256_loadu_ps(g.bias + column) : _mm256_setzero_ps();
        float *y = static_cast<float *>(g.y) + column;
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++)
            finish(acc[i][v], _mm256_set1_ps(g.row_scale[i]), scale, bias, g.relu, y + i * g.ldy, g.n - column);
    }
}

// Few rows load a broadcast for every two products, so they take more tiles at once.
template <size_t rows>
void all_columns(const gemm_panel_args &g) noexcept {
    constexpr size_t tiles = rows <= 2 ? 2 : 1;
    widened wide;
    if (g.k <= piece) widen<rows>(g, 0, g.k, wide);
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + tiles * nt <= g.n; j += tiles * nt) block<rows, tiles>(g, j, wide);
    for (; j < g.n; j += nt) block<rows, 1>(g, j, wide);
}

constexpr void (*by_rows[])(const gemm_panel_args &) noexcept = {
    all_columns<1>, all_columns<2>, all_columns<3>, all_columns<4>, all_columns<5>, all_columns<6>,
};

}  // namespace

void gemm_s8_s8_6x16_avx2(const gemm_panel_args &g) noexcept {
    if (g.m > 0) by_rows[g.m - 1](g);
}

}  // namespace ss1
