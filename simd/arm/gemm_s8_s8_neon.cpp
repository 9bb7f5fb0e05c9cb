// SPDX-License-Identifier: Apache-2.0
// int8 GEMM for every 64-bit Arm CPU. It multiplies neighbours in k to s16, which holds even (-128)^2, and adds them in
// pairs to s32: 4 products an instruction, as with widening multiply-adds, but additions run on two pipes where
// multiplications have only one (Cortex-A72).
#include "arm/sums.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 16;

// Broadcasts two neighbours in k to all columns. GCC would load them through a general register. volatile keeps it from
// moving the loads of all rows to the front, which makes it spill sums.
inline int8x16_t load_pair(const int8_t *a) noexcept {
    int8x16_t pair;
    asm volatile("ld1r {%0.8h}, %1" : "=w"(pair) : "Q"(*reinterpret_cast<const int8_t(*)[2]>(a)));
    return pair;
}

template <size_t rows>
void tile(const gemm_panel_args &g, const int8_t *b, size_t j) noexcept {
    const int8_t *a = static_cast<const int8_t *>(g.a);
    const size_t lda = g.lda, end = g.k;
    int32x4_t sum[rows][4];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) sum[i][v] = integer_sums::start(g, i, j + 4 * v);
    for (size_t k = 0; k < end; k += 2, b += 2 * nt) {
        const int8x16_t first = vld1q_s8(b), second = vld1q_s8(b + 16);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            const int8x16_t pair = load_pair(a + i * lda + k);
            sum[i][0] = vpadalq_s16(sum[i][0], vmull_s8(vget_low_s8(first), vget_low_s8(pair)));
            sum[i][1] = vpadalq_s16(sum[i][1], vmull_high_s8(first, pair));
            sum[i][2] = vpadalq_s16(sum[i][2], vmull_s8(vget_low_s8(second), vget_low_s8(pair)));
            sum[i][3] = vpadalq_s16(sum[i][3], vmull_high_s8(second, pair));
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++)
            if (j + 4 * v < g.n) integer_sums::finish(g, i, j + 4 * v, sum[i][v]);
}

// Calls the instance for g.m rows, by counting down from `rows`.
template <size_t rows>
void gemm(const gemm_panel_args &g) noexcept {
    if constexpr (rows > 1)
        if (g.m < rows) return gemm<rows - 1>(g);
    if (g.m == 0) return;
    const int8_t *b = static_cast<const int8_t *>(g.b);
    for (size_t j = 0; j < g.n; j += nt, b += g.ldb) tile<rows>(g, b, j);
}

}  // namespace

void gemm_s8_s8_6x16_neon(const gemm_panel_args &g) noexcept {
    gemm<6>(g);
}

}  // namespace ss1
