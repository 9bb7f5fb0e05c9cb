// SPDX-License-Identifier: Apache-2.0
// GEMM through Highway: a is f32; b is f32, or bf16 that is widened. SSE4 has no FMA: its kernels multiply, then add;
// the same bits are promised for one kernel only. bf16 panels have one or two rows less than f32 panels: with as many
// rows, GCC spills sums to the stack (AVX2: 68 GFLOP/s with 6 rows, 75 with 5, against 79 of f32).
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/gemm_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// Loads a vector of b at an even or an `odd` k. A bf16 is the upper half of a float, and the values of two neighbours
// in k are adjacent: a shift or a mask widens one of them for all columns.
HWY_INLINE vec widen(const float *b, bool) {
    return hn::Load(d, b);
}

HWY_INLINE vec widen(const uint16_t *b, bool odd) {
    const words dw;
    const auto pairs = hn::Load(dw, reinterpret_cast<const uint32_t *>(b));
    return hn::BitCast(d, odd ? hn::And(pairs, hn::Set(dw, 0xffff0000u)) : hn::ShiftLeft<16>(pairs));
}

// 512 is up to 7 % faster for one row with weights in memory, slower for four; 2048 is the opposite.
constexpr size_t prefetch_bytes = 1024;

// Multiplies `rows` rows by the packed tiles at b, which hold columns j .. j + tiles*vectors*lanes - 1.
template <size_t rows, size_t vectors, size_t tiles, class T>
HWY_INLINE void block(const gemm_panel_args &g, const T *b, size_t j) {
    constexpr size_t kr = sizeof(float) / sizeof(T), all = tiles * vectors;
    constexpr bool prefetches = rows <= 4 || kr == 1;  // 5 rows of bf16 lose 8 % by it if b is in L2
    const float *a = static_cast<const float *>(g.a);
    float *y = static_cast<float *>(g.y);
    const size_t lda = g.lda, ldb = g.ldb, end = g.k;
    vec acc[rows][all];
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (size_t v = 0; v < all; v++) {
            const float *init = g.accumulate ? y + i * g.ldy : g.bias;
            const size_t column = j + v * lanes;
            acc[i][v] = init && column < g.n ? load_at(init, column, g.n) : hn::Zero(d);
        }
    }
    for (size_t k = 0; k < end; k += kr, b += vectors * lanes * kr) {
#pragma GCC unroll 8
        for (size_t t = 0; prefetches && t < tiles; t++)
            __builtin_prefetch(reinterpret_cast<const char *>(b + t * ldb) + prefetch_bytes);
#pragma GCC unroll 2
        for (size_t r = 0; r < kr; r++) {
            asm("" : "+r"(b));  // the odd k loads again: pairs of the even k would take registers from the sums
            vec bk[all];
#pragma GCC unroll 8
            for (size_t v = 0; v < all; v++) bk[v] = widen(b + v / vectors * ldb + v % vectors * lanes * kr, r == 1);
#pragma GCC unroll 8
            for (size_t i = 0; i < rows; i++) {
                const vec ak = hn::Set(d, a[i * lda + k + r]);
#pragma GCC unroll 8
                for (size_t v = 0; v < all; v++) acc[i][v] = hn::MulAdd(ak, bk[v], acc[i][v]);
                // Else GCC moves the loads of all rows to the front and, short of registers, spills sums.
                if (HWY_ARCH_ARM && i % 2) asm volatile("");
            }
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (size_t v = 0; v < all; v++) {
            const size_t column = j + v * lanes;
            const vec zero = hn::Zero(d);
            // Not Max: it ignores a NaN in one of its operands; which one depends on the target.
            const vec c = g.relu ? hn::IfThenElse(hn::Lt(acc[i][v], zero), zero, acc[i][v]) : acc[i][v];
            if (column < g.n) store_at(c, y + i * g.ldy, column, g.n);
        }
    }
}

// Calls the instance for g.m rows, by counting down from `rows`. One row, in f32 also two rows, are multiplied by
// several tiles at once: 8 sums hide the latency of the additions, and memory sees more streams.
template <size_t rows, size_t vectors, class T>
HWY_NOINLINE void gemm(const gemm_panel_args &g) noexcept {
    if constexpr (rows > 1)
        if (g.m < rows) return gemm<rows - 1, vectors, T>(g);
    if (g.m == 0) return;
    constexpr size_t columns = vectors * lanes, kr = sizeof(float) / sizeof(T);
    constexpr size_t tiles = rows == 1 ? 8 / vectors : rows == 2 && kr == 1 ? 4 / vectors : 1;
    const T *b = static_cast<const T *>(g.b);
    size_t j = 0;
    if constexpr (tiles > 1)
        for (; j + tiles * columns <= g.n; j += tiles * columns, b += tiles * g.ldb)
            block<rows, vectors, tiles>(g, b, j);
    for (; j < g.n; j += columns, b += g.ldb) block<rows, vectors, 1>(g, b, j);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX2
void gemm_f32_f32_6x16_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm<6, 2, float>(g);
}
void gemm_f32_bf16_5x16_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm<5, 2, uint16_t>(g);
}
#elif HWY_TARGET == HWY_SSE4
void gemm_f32_f32_4x8_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm<4, 2, float>(g);
}
void gemm_f32_bf16_4x8_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm<4, 2, uint16_t>(g);
}
#elif HWY_TARGET == HWY_NEON
void gemm_f32_f32_6x16_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm<6, 4, float>(g);
}
void gemm_f32_bf16_4x16_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm<4, 4, uint16_t>(g);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
