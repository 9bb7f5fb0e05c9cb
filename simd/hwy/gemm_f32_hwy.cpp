// SPDX-License-Identifier: Apache-2.0
// f32 GEMM through Highway. SSE4 has no FMA: its rows multiply, then add; bits are promised per row of the table only.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/gemm_f32_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// `rows` rows of the packed tile at b, which holds columns j .. j + vectors*lanes - 1.
template <size_t rows, size_t vectors>
HWY_INLINE void tile(const gemm_args &g, const float *b, size_t j) {
    const float *a = static_cast<const float *>(g.a);
    float *y = static_cast<float *>(g.y);
    vec acc[rows][vectors];
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const float *init = g.accumulate ? y + i * g.ldy : g.bias;
            const size_t column = j + v * lanes;
            acc[i][v] = init && column < g.n ? load_at(init, column, g.n) : hn::Zero(d);
        }
    }
    for (size_t k = 0; k < g.k; k++, b += vectors * lanes) {
        vec bk[vectors];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) bk[v] = hn::Load(d, b + v * lanes);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            const vec ak = hn::Set(d, a[i * g.lda + k]);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) acc[i][v] = hn::MulAdd(ak, bk[v], acc[i][v]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const size_t column = j + v * lanes;
            const vec zero = hn::Zero(d);
            // Not Max: it drops a NaN in one of its operands, in which one depends on the target.
            const vec c = g.relu ? hn::IfThenElse(hn::Lt(acc[i][v], zero), zero, acc[i][v]) : acc[i][v];
            if (column < g.n) store_at(c, y + i * g.ldy, column, g.n);
        }
    }
}

// Rows are a template parameter of the tile: count down from `rows` to the number there is.
template <size_t rows, size_t vectors>
HWY_NOINLINE void gemm(const gemm_args &g) noexcept {
    if constexpr (rows > 1)
        if (g.m < rows) return gemm<rows - 1, vectors>(g);
    if (g.m == 0) return;
    const float *b = static_cast<const float *>(g.b);
    for (size_t j = 0; j < g.n; j += vectors * lanes, b += g.ldb) tile<rows, vectors>(g, b, j);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX2
void gemm_f32_6x16_hwy_avx2(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm<6, 2>(g);
}
#elif HWY_TARGET == HWY_SSE4
void gemm_f32_4x8_hwy_sse4(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm<4, 2>(g);
}
#elif HWY_TARGET == HWY_NEON
void gemm_f32_6x16_hwy_neon(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm<6, 4>(g);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
