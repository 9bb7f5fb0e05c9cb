// SPDX-License-Identifier: Apache-2.0
// f32 x bf16 GEMM on AVX-512; loads of B widen it. Up to 14 rows x 32 columns take 28 accumulators, 2 registers for B
// and 1 for a broadcast of A: 31 of 32. 64 bytes of B are 16 columns of 2 k's: a shift widens the even k, a mask the
// odd one. vdpbf16ps would need neither, but runs at half the rate (on Xeons): slower from 2 rows on.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 32, kr = 2;
constexpr size_t prefetch_distance = 1024;  // elements, 2 KB

struct columns {
    __mmask16 low, high;  // columns 0..15 and 16..31 of a tile that exist
};

inline columns columns_of(size_t count) noexcept {
    const uint32_t mask = count >= nt ? ~0u : (1u << count) - 1;
    return {static_cast<__mmask16>(mask), static_cast<__mmask16>(mask >> 16)};
}

inline __m512 even(__m512i b) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
}
inline __m512 odd(__m512i b) noexcept {
    return _mm512_castsi512_ps(_mm512_and_si512(b, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

// Multiplies two k's of few rows. Each vector of B is loaded once (1 row: +14 %), in asm, as GCC 12 would load it
// twice.
template <size_t rows, size_t tiles>
inline void few_products(__m512 (&acc)[rows][2 * tiles], const float *a, size_t lda, const uint16_t *b,
                         size_t ldb) noexcept {
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        __m512i pair;
        asm("vmovdqa64 %1, %0" : "=v"(pair) : "m"(*reinterpret_cast<const __m512i *>(b + v / 2 * ldb + v % 2 * 32)));
        const __m512 bk[2] = {even(pair), odd(pair)};
#pragma GCC unroll 3
        for (size_t i = 0; i < rows; i++) {
            acc[i][v] = _mm512_fmadd_ps(_mm512_set1_ps(a[i * lda]), bk[0], acc[i][v]);
            acc[i][v] = _mm512_fmadd_ps(_mm512_set1_ps(a[i * lda + 1]), bk[1], acc[i][v]);
        }
    }
}

// Multiplies one k of the pair. B is loaded again for the other k, as both do not fit the registers.
template <bool second, size_t rows, size_t tiles>
inline void products(__m512 (&acc)[rows][2 * tiles], const float *a, size_t lda, const uint16_t *b,
                     size_t ldb) noexcept {
    __m512 bk[2 * tiles];
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++) {
        const uint16_t *pairs = b + v / 2 * ldb + v % 2 * 32;
        bk[v] =
            second ? _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(0xaaaaaaaa, pairs)) : even(_mm512_load_si512(pairs));
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++) {
        const __m512 ak = _mm512_set1_ps(a[i * lda + second]);
#pragma GCC unroll 8
        for (size_t v = 0; v < 2 * tiles; v++) acc[i][v] = _mm512_fmadd_ps(ak, bk[v], acc[i][v]);
    }
}

// Computes `rows` rows x `tiles` tiles of y from column j on. `last` masks the last tile; the tiles before it are full.
template <size_t rows, size_t tiles>
inline void block(const gemm_panel_args &g, size_t j, columns last) noexcept {
    const float *a = static_cast<const float *>(g.a);
    const uint16_t *b = static_cast<const uint16_t *>(g.b) + j / nt * g.ldb;
    float *y = static_cast<float *>(g.y);
    __m512 acc[rows][2 * tiles];
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; t++) {
        const columns mask = t + 1 < tiles ? columns{0xffff, 0xffff} : last;
        const float *bias = g.bias ? g.bias + j + t * nt : nullptr;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const float *init = g.accumulate ? y + i * g.ldy + j + t * nt : bias;
            acc[i][2 * t] = init ? _mm512_maskz_loadu_ps(mask.low, init) : _mm512_setzero_ps();
            acc[i][2 * t + 1] = init ? _mm512_maskz_loadu_ps(mask.high, init + 16) : _mm512_setzero_ps();
        }
    }
    for (size_t k = 0; k < g.k; k += kr, b += nt * kr) {
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++) {
            const uint16_t *ahead = b + t * g.ldb + prefetch_distance;
            _mm_prefetch(reinterpret_cast<const char *>(ahead), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char *>(ahead + 32), _MM_HINT_T0);
        }
        if constexpr (rows <= 3) {
            few_products<rows, tiles>(acc, a + k, g.lda, b, g.ldb);
        } else {
            products<false, rows, tiles>(acc, a + k, g.lda, b, g.ldb);
            products<true, rows, tiles>(acc, a + k, g.lda, b, g.ldb);
        }
    }
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; t++) {
        const columns mask = t + 1 < tiles ? columns{0xffff, 0xffff} : last;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            float *c = y + i * g.ldy + j + t * nt;
            __m512 low = acc[i][2 * t], high = acc[i][2 * t + 1];
            if (g.relu) {  // maxps gives its second operand if either is NaN
                low = _mm512_maskz_max_ps(mask.low, _mm512_setzero_ps(), low);
                high = _mm512_maskz_max_ps(mask.high, _mm512_setzero_ps(), high);
            }
            _mm512_mask_storeu_ps(c, mask.low, low);
            _mm512_mask_storeu_ps(c + 16, mask.high, high);
        }
    }
}

// Few rows leave the FMA units waiting (4 cycles x 2 units need 8 chains; a row has 2 for each tile), so they take more
// tiles at once.
template <size_t rows>
void all_columns(const gemm_panel_args &g) noexcept {
    constexpr size_t tiles = rows == 1 ? 4 : rows <= 6 ? 2 : 1;
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

void gemm_f32_bf16_14x32_avx512(const gemm_panel_args &g) noexcept {
    if (g.m > 0) by_rows[g.m - 1](g);
}

}  // namespace ss1
