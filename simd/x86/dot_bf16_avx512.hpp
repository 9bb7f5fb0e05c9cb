// SPDX-License-Identifier: Apache-2.0
// Products of a panel of bf16 rows and packed tiles by vdpbf16ps: up to 14 rows x 32 columns take 28 accumulators, 2
// registers for B and 1 for a broadcast of a pair of A: 31 of 32. 64 bytes of B are 16 columns of a pair of k's. On Zen
// 4 and 5 the instruction issues as often as an f32 FMA, with twice the products; on Xeons half as often, so there
// widening is faster. It takes denormals for zero.
//
// On Zen 5, a prototype of 14 rows and 32 columns ran at 94 to 98 % of the rate of vdpbf16ps on registers alone, and at
// 81 % with A as a broadcast memory operand (3 loads for each 2 products). A latency of 6 cycles takes 12 chains.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace ss1 {
namespace {

constexpr size_t mr = 14, nt = 32, kr = 2;
constexpr size_t prefetch_distance = 4096;  // elements, 8 KB

// Loads 16 columns of a pair of k's into a register. In asm: GCC 12 would load them again for each row.
inline __m512i load(const uint16_t *b) noexcept {
    __m512i v;
    asm("vmovdqa64 %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const __m512i *>(b)));
    return v;
}

// Broadcasts two neighbours of a row of A. In asm: GCC 12 would make it a memory operand of the product.
inline __m512i broadcast(const uint16_t *a) noexcept {
    __m512i v;
    asm("vpbroadcastd %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const uint16_t(*)[2]>(a)));
    return v;
}

// Adds the products to acc. In asm, as GCC 12 copies every accumulator around the intrinsic.
inline void multiply_add(__m512 &acc, __m512i a, __m512i b) noexcept {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
}

template <size_t rows, size_t tiles>
using accumulators = __m512[rows][2 * tiles];

// Computes `rows` rows x `tiles` tiles over `pairs` pairs of k. Always inlined: the sums are registers.
template <size_t rows, size_t tiles, bool prefetch>
[[gnu::always_inline]] inline void multiply(const uint16_t *a, size_t lda, const uint16_t *b, size_t ldb, size_t pairs,
                                            accumulators<rows, tiles> &acc) noexcept {
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (size_t v = 0; v < 2 * tiles; v++) acc[i][v] = _mm512_setzero_ps();
    // Two pointers of 7 rows each: GCC 12 has no registers for the places of 14 rows from one pointer.
    const uint16_t *lower = a + (rows > 7 ? 7 * lda : 0);
    asm("" : "+r"(lower));
    for (; pairs > 0; pairs--, a += kr, lower += kr, b += nt * kr) {
        __m512i bk[2 * tiles];
#pragma GCC unroll 8
        for (size_t v = 0; v < 2 * tiles; v++) {
            const uint16_t *columns = b + v / 2 * ldb + v % 2 * 32;
            bk[v] = load(columns);
            if constexpr (prefetch)
                _mm_prefetch(reinterpret_cast<const char *>(columns + prefetch_distance), _MM_HINT_T0);
        }
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512i ak = broadcast(i < 7 ? a + i * lda : lower + (i - 7) * lda);
#pragma GCC unroll 8
            for (size_t v = 0; v < 2 * tiles; v++) multiply_add(acc[i][v], ak, bk[v]);
        }
    }
}

// Writes the sums: row i of tile t is at sums + t * tile_stride + i * row_stride, a multiple of 64 bytes.
template <size_t rows, size_t tiles>
[[gnu::always_inline]] inline void store(const accumulators<rows, tiles> &acc, float *sums, size_t row_stride,
                                         size_t tile_stride) noexcept {
#pragma GCC unroll 8
    for (size_t v = 0; v < 2 * tiles; v++)
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++)
            _mm512_store_ps(sums + v / 2 * tile_stride + i * row_stride + v % 2 * 16, acc[i][v]);
}

}  // namespace
}  // namespace ss1
