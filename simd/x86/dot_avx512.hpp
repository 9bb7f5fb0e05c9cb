// SPDX-License-Identifier: Apache-2.0
// Products of a panel of rows and packed tiles by dot products of 4 bytes: pairs of bf16 (vdpbf16ps) or quads of u8 and
// s8 (vpdpbusd, which adds 4 products to an s32 without saturation). Up to 14 rows x 32 columns take 28 accumulators, 2
// registers for B and 1 for a broadcast of A: 31 of 32. 64 bytes of B are 16 columns.
//
// On Zen 4 and 5 vdpbf16ps issues as often as an f32 FMA, with twice the products; on Xeons half as often, so there
// widening is faster. It takes denormals for zero.
//
// On Zen 5, a prototype of 14 rows and 32 columns ran at 94 to 98 % of the rate of the instruction on registers alone,
// and at 81 % with A as a broadcast memory operand (3 loads for each 2 products). vdpbf16ps takes 6 cycles, so 12
// chains; vpdpbusd 4 to 5.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace ss1 {
namespace {

constexpr size_t mr = 14, nt = 32;
constexpr size_t group = 4;        // bytes of A that a dot product takes
constexpr size_t columns = 64;     // bytes of B that it takes: 16 columns
constexpr size_t distance = 8192;  // bytes from the columns of B in use to those that are prefetched

// The two kinds. In asm, as GCC 12 copies every accumulator around the intrinsics (14 rows of vpdpbusd: 69 moves, 26 of
// them through the stack, for 28 products).
struct pairs_of_bf16 {
    using value = uint16_t;  // of A and B
    using sum = __m512;
    static void multiply_add(sum &acc, __m512i a, __m512i b) noexcept {
        asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    }
};
struct quads_of_bytes {
    using value = uint8_t;
    using sum = __m512i;
    static void multiply_add(sum &acc, __m512i a, __m512i b) noexcept {
        asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    }
};

// Loads 16 columns into a register. In asm: GCC 12 would load them again for each row.
inline __m512i load(const char *b) noexcept {
    __m512i v;
    asm("vmovdqa64 %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const __m512i *>(b)));
    return v;
}

// Broadcasts neighbours of a row of A. In asm: GCC 12 would make it a memory operand of the product.
inline __m512i broadcast(const char *a) noexcept {
    __m512i v;
    asm("vpbroadcastd %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const char(*)[group]>(a)));
    return v;
}

template <class Dot, size_t rows, size_t tiles>
using accumulators = typename Dot::sum[rows][2 * tiles];

// acc += `rows` rows x `tiles` tiles over k, a multiple of what a dot product takes. lda and ldb are in elements.
// Always inlined: the sums are registers.
template <class Dot, size_t rows, size_t tiles, bool prefetch>
[[gnu::always_inline]] inline void multiply(const typename Dot::value *a, size_t lda, const void *b, size_t ldb,
                                            size_t k, accumulators<Dot, rows, tiles> &acc) noexcept {
    constexpr size_t size = sizeof(typename Dot::value);
    const auto *at = reinterpret_cast<const char *>(a), *tile = static_cast<const char *>(b);
    lda *= size;
    ldb *= size;
    // Two pointers of 7 rows each: GCC 12 has no registers for the places of 14 rows from one pointer.
    const char *lower = at + (rows > 7 ? 7 * lda : 0);
    asm("" : "+r"(lower));
    for (k = k * size / group; k > 0; k--, at += group, lower += group, tile += 2 * columns) {
        __m512i bk[2 * tiles];
#pragma GCC unroll 8
        for (size_t v = 0; v < 2 * tiles; v++) {
            const char *from = tile + v / 2 * ldb + v % 2 * columns;
            bk[v] = load(from);
            if constexpr (prefetch) _mm_prefetch(from + distance, _MM_HINT_T0);
        }
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512i ak = broadcast(i < 7 ? at + i * lda : lower + (i - 7) * lda);
#pragma GCC unroll 8
            for (size_t v = 0; v < 2 * tiles; v++) Dot::multiply_add(acc[i][v], ak, bk[v]);
        }
    }
}

}  // namespace
}  // namespace ss1
