// SPDX-License-Identifier: Apache-2.0
// f32 GEMM on AVX-512: up to 14 rows x 32 columns take 28 accumulators, 2 registers for B and 1 for a broadcast of A:
// 31 of 32.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 32;
constexpr size_t prefetch_distance = 512;  // floats, 2 KB: a prototype reached 96 % of the FMA ceiling, without 84-96 %

// Loads 64 bytes of B into a register. In asm: with 2 or 3 rows, GCC 12 would load them again for each row.
inline __m512 load(const float *b) noexcept {
    __m512 v;
    asm("vmovaps %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const __m512 *>(b)));
    return v;
}

// Computes `rows` rows x `vectors` vectors of 16 columns of y from column j on, where a tile begins. `last` masks the
// last vector.
template <size_t rows, size_t vectors>
inline void block(const gemm_panel_args &g, size_t j, __mmask16 last) noexcept {
    const float *a = static_cast<const float *>(g.a), *b = static_cast<const float *>(g.b) + j / nt * g.ldb;
    float *y = static_cast<float *>(g.y) + j;
    __m512 acc[rows][vectors];
#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v++) {
        const __mmask16 mask = v + 1 < vectors ? __mmask16{0xffff} : last;
        const float *bias = g.bias ? g.bias + j + 16 * v : nullptr;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const float *start = g.accumulate ? y + i * g.ldy + 16 * v : bias;
            acc[i][v] = start ? _mm512_maskz_loadu_ps(mask, start) : _mm512_setzero_ps();
        }
    }
    // With nothing to prefetch, prefetch b itself, which is in L1 by then: a branch would cost more.
    const char *ahead = g.ahead ? g.ahead + j / nt * g.ldb * sizeof(float) : reinterpret_cast<const char *>(b);
    for (size_t k = 0; k < g.k; k++, b += nt, ahead += g.ahead_step) {
        if constexpr (rows > 6) _mm_prefetch(ahead, _MM_HINT_T1);  // fewer rows only wait for b
        __m512 bk[vectors];
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) {
            const float *vector = b + v / 2 * g.ldb + v % 2 * 16;
            bk[v] = load(vector);
            _mm_prefetch(reinterpret_cast<const char *>(vector + prefetch_distance), _MM_HINT_T0);
        }
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512 ak = _mm512_set1_ps(a[i * g.lda + k]);
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++) acc[i][v] = _mm512_fmadd_ps(ak, bk[v], acc[i][v]);
        }
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v++) {
        const __mmask16 mask = v + 1 < vectors ? __mmask16{0xffff} : last;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            // maxps gives its second operand if either is NaN.
            const __m512 sum = g.relu ? _mm512_maskz_max_ps(mask, _mm512_setzero_ps(), acc[i][v]) : acc[i][v];
            _mm512_mask_storeu_ps(y + i * g.ldy + 16 * v, mask, sum);
        }
    }
}

// Few rows leave the FMA units waiting (4 cycles x 2 units need 8 chains; a row has 2 for each tile) and load a
// broadcast for every two FMAs, so they take more tiles at once. 2 tiles: +6 to +20 % at 4..6 rows; 7 rows would need
// 33 registers.
template <size_t rows>
void all_columns(const gemm_panel_args &g) noexcept {
    constexpr size_t tiles = rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
    size_t j = 0;
    for (; j + tiles * nt <= g.n; j += tiles * nt) block<rows, 2 * tiles>(g, j, 0xffff);
    if constexpr (tiles > 1)
        for (; j + nt <= g.n; j += nt) block<rows, 2>(g, j, 0xffff);
    if (j == g.n) return;
    const size_t left = g.n - j;
    if (left > 16) {
        block<rows, 2>(g, j, static_cast<__mmask16>((1u << (left - 16)) - 1));
    } else {
        block<rows, 1>(g, j, static_cast<__mmask16>((1u << left) - 1));
    }
}

constexpr void (*by_rows[])(const gemm_panel_args &) noexcept = {
    all_columns<1>, all_columns<2>, all_columns<3>,  all_columns<4>,  all_columns<5>,  all_columns<6>,  all_columns<7>,
    all_columns<8>, all_columns<9>, all_columns<10>, all_columns<11>, all_columns<12>, all_columns<13>, all_columns<14>,
};

}  // namespace

void gemm_f32_f32_14x32_avx512(const gemm_panel_args &g) noexcept {
    if (g.m > 0) by_rows[g.m - 1](g);
}

}  // namespace ss1
