// SPDX-License-Identifier: Apache-2.0
// int8 GEMM on AVX-512 VNNI: up to 14 rows x 32 columns take 28 accumulators, 2 registers for B and 1 for a broadcast
// of A: 31 of 32. vpdpbusd adds 4 products of u8 and s8 to an s32 without saturation; 64 bytes of B are 16 columns of 4
// k's.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 32, kr = 4;
constexpr size_t prefetch_distance = 2048;  // bytes

struct columns {
    __mmask16 low, high;  // columns 0..15 and 16..31 of a tile that exist
};

inline columns columns_of(size_t count) noexcept {
    const uint32_t mask = count >= nt ? ~0u : (1u << count) - 1;
    return {static_cast<__mmask16>(mask), static_cast<__mmask16>(mask >> 16)};
}

// Broadcasts 4 neighbours of a row of A to all lanes.
inline __m512i broadcast(const uint8_t *a) noexcept {
    int32_t quad;
    __builtin_memcpy(&quad, a, sizeof quad);
    return _mm512_set1_epi32(quad);
}

// Loads 64 bytes of B into a register. In asm: GCC 12 would load them again for each row (3 rows of 2 tiles: 19 instead
// of 11 uses of the load ports for 12 products).
inline __m512i load(const int8_t *b) noexcept {
    __m512i v;
    asm("vmovdqa64 %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const __m512i *>(b)));
    return v;
}

// Adds the products to acc. Not by the intrinsic: GCC 12 copies every accumulator around it (14 rows: 69 moves, 26 of
// them through the stack, for 28 products).
inline void multiply_add(__m512i &acc, __m512i a, __m512i b) noexcept {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
}

// Writes 16 sums of one row to y. maxps gives its second operand if either is NaN.
inline void finish(__m512i sum, __m512 row_scale, __m512 column_scale, __m512 bias, bool relu, float *y,
                   __mmask16 mask) noexcept {
    const __m512 scale = _mm512_mul_ps(row_scale, column_scale);
    const __m512 scaled = _mm512_mul_ps(scale, _mm512_maskz_cvtepi32_ps(mask, sum));
    __m512 value = _mm512_add_ps(scaled, bias);
    if (relu) value = _mm512_max_ps(_mm512_setzero_ps(), value);
    _mm512_mask_storeu_ps(y, mask, value);
}

// Computes `rows` rows x `tiles` tiles of y from column j on. `last` masks the last tile; the tiles before it are full.
template <size_t rows, size_t tiles>
inline void block(const gemm_panel_args &g, size_t j, columns last) noexcept {
    const uint8_t *a = static_cast<const uint8_t *>(g.a);
    const int8_t *b = static_cast<const int8_t *>(g.b) + j / nt * g.ldb;
    __m512i acc[rows][2 * tiles];
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        const __m512i start = g.column_start ? _mm512_loadu_si512(g.column_start + j + 16 * v) : _mm512_setzero_si512();
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) acc[i][v] = start;
    }
    for (size_t k = 0; k < g.k; k += kr, b += nt * kr) {
        __m512i bk[2 * tiles];
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++) {
            const int8_t *tile = b + t * g.ldb;
            bk[2 * t] = load(tile);
            bk[2 * t + 1] = load(tile + 64);
            _mm_prefetch(reinterpret_cast<const char *>(tile + prefetch_distance), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char *>(tile + prefetch_distance + 64), _MM_HINT_T0);
        }
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512i ak = broadcast(a + i * g.lda + k);
#pragma GCC unroll 8
            for (size_t v = 0; v < 2 * tiles; v++) multiply_add(acc[i][v], ak, bk[v]);
        }
    }
    float *y = static_cast<float *>(g.y) + j;
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; t++) {
        const columns mask = t + 1 < tiles ? columns{0xffff, 0xffff} : last;
        const size_t low = t * nt, high = low + 16;
        const __m512 scale_low = _mm512_loadu_ps(g.column_scale + j + low);
        const __m512 scale_high = _mm512_loadu_ps(g.column_scale + j + high);
        const __m512 bias_low = g.bias ? _mm512_loadu_ps(g.bias + j + low) : _mm512_setzero_ps();
        const __m512 bias_high = g.bias ? _mm512_loadu_ps(g.bias + j + high) : _mm512_setzero_ps();
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512 row_scale = _mm512_set1_ps(g.row_scale[i]);
            finish(acc[i][2 * t], row_scale, scale_low, bias_low, g.relu, y + i * g.ldy + low, mask.low);
            finish(acc[i][2 * t + 1], row_scale, scale_high, bias_high, g.relu, y + i * g.ldy + high, mask.high);
        }
    }
}

// Few rows leave the units waiting (5 cycles x 2 units need 10 chains; a row has 2 for each tile) and load a broadcast
// for every two products, so they take more tiles at once, as many as the registers allow.
template <size_t rows>
void all_columns(const gemm_panel_args &g) noexcept {
    constexpr size_t tiles = rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + tiles * nt <= g.n; j += tiles * nt) block<rows, tiles>(g, j, columns{0xffff, 0xffff});
    for (; j < g.n; j += nt) block<rows, 1>(g, j, columns_of(g.n - j));
}

constexpr void (*by_rows[])(const gemm_panel_args &) noexcept = {
    all_columns<1>, all_columns<2>, all_columns<3>,  all_columns<4>,  all_columns<5>,  all_columns<6>,  all_columns<7>,
    all_columns<8>, all_columns<9>, all_columns<10>, all_columns<11>, all_columns<12>, all_columns<13>, all_columns<14>,
};

}  // namespace

void gemm_u8_s8_14x32_avx512vnni(const gemm_panel_args &g) noexcept {
    if (g.m > 0) by_rows[g.m - 1](g);
}

}  // namespace ss1
