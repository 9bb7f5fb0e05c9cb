// SPDX-License-Identifier: Apache-2.0
// int8 GEMM on AVX-VNNI: up to 6 rows x 16 columns take 12 accumulators, 2 registers for B and 1 for a broadcast of A:
// 15 of 16. vpdpbusd adds 4 products of u8 and s8 to an s32 without saturation; 32 bytes of B are 8 columns of 4 k's.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/sums_avx2.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 16, kr = 4;
constexpr size_t prefetch_distance = 2048;  // bytes

// Broadcasts 4 neighbours of a row of A to all lanes.
inline __m256i broadcast(const uint8_t *a) noexcept {
    int32_t quad;
    __builtin_memcpy(&quad, a, sizeof quad);
    return _mm256_set1_epi32(quad);
}

inline __m256i load(const void *p) noexcept {
    return _mm256_loadu_si256(static_cast<const __m256i *>(p));
}

// Computes `rows` rows x `tiles` tiles of y from column j on.
template <size_t rows, size_t tiles>
inline void block(const gemm_panel_args &g, size_t j) noexcept {
    const uint8_t *a = static_cast<const uint8_t *>(g.a);
    const int8_t *b = static_cast<const int8_t *>(g.b) + j / nt * g.ldb;
    __m256i acc[rows][2 * tiles];
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        const __m256i start = g.column_start ? load(g.column_start + j + 8 * v) : _mm256_setzero_si256();
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) acc[i][v] = start;
    }
    for (size_t k = 0; k < g.k; k += kr, b += nt * kr) {
        __m256i bk[2 * tiles];
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++) {
            const int8_t *tile = b + t * g.ldb;
            bk[2 * t] = load(tile);
            bk[2 * t + 1] = load(tile + 32);
            _mm_prefetch(reinterpret_cast<const char *>(tile + prefetch_distance), _MM_HINT_T0);
        }
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            const __m256i ak = broadcast(a + i * g.lda + k);
#pragma GCC unroll 8
            for (size_t v = 0; v < 2 * tiles; v++) acc[i][v] = _mm256_dpbusd_avx_epi32(acc[i][v], ak, bk[v]);
        }
    }
    // Through memory: with the epilogue working on registers, GCC 12 copies accumulators in the loop above.
    alignas(32) int32_t sums[rows][2 * tiles][8];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (size_t v = 0; v < 2 * tiles; v++) _mm256_store_si256(reinterpret_cast<__m256i *>(sums[i][v]), acc[i][v]);
    for (size_t v = 0; v < 2 * tiles && j + 8 * v < g.n; v++) {
        const size_t column = j + 8 * v;
        const __m256 scale = _mm256_loadu_ps(g.column_scale + column);
        const __m256 bias = g.bias ? _mm256_loadu_ps(g.bias + column) : _mm256_setzero_ps();
        float *y = static_cast<float *>(g.y) + column;
        for (size_t i = 0; i < rows; i++)
            finish(load(sums[i][v]), _mm256_set1_ps(g.row_scale[i]), scale, bias, g.relu, y + i * g.ldy, g.n - column);
    }
}

// The units need 10 chains: 5 cycles x 2 units. 4 rows have only 8, as more do not fit the registers.
template <size_t rows>
void all_columns(const gemm_panel_args &g) noexcept {
    constexpr size_t tiles = rows == 1 ? 4 : rows == 2 ? 3 : rows == 3 ? 2 : 1;
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + tiles * nt <= g.n; j += tiles * nt) block<rows, tiles>(g, j);
    for (; j < g.n; j += nt) block<rows, 1>(g, j);
}

constexpr void (*by_rows[])(const gemm_panel_args &) noexcept = {
    all_columns<1>, all_columns<2>, all_columns<3>, all_columns<4>, all_columns<5>, all_columns<6>,
};

}  // namespace

void gemm_u8_s8_6x16_avxvnni(const gemm_panel_args &g) noexcept {
    if (g.m > 0) by_rows[g.m - 1](g);
}

}  // namespace ss1
