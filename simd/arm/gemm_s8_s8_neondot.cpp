// SPDX-License-Identifier: Apache-2.0
// int8 GEMM with sdot: an instruction multiplies four neighbours in k of four columns by those of one row, which are a
// lane of a vector of 16 k's.
#include "arm/sums.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 8;

// Adds the products of the four k's in `lane` of a.
template <size_t rows, int lane>
inline void step(int32x4_t (&sum)[rows][2], const int8x16_t (&a)[rows], const int8_t *b) noexcept {
    const int8x16_t first = vld1q_s8(b + 4 * nt * lane), second = vld1q_s8(b + 4 * nt * lane + 16);
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
        sum[i][0] = vdotq_laneq_s32(sum[i][0], first, a[i], lane);
        sum[i][1] = vdotq_laneq_s32(sum[i][1], second, a[i], lane);
    }
}

template <size_t rows>
void tile(const gemm_panel_args &g, const int8_t *b, size_t j) noexcept {
    const int8_t *a = static_cast<const int8_t *>(g.a);
    const size_t lda = g.lda, end = g.k;
    int32x4_t sum[rows][2];
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
        sum[i][0] = integer_sums::start(g, i, j);
        sum[i][1] = integer_sums::start(g, i, j + 4);
    }
    for (size_t k = 0; k < end; k += 16, b += 16 * nt) {
        int8x16_t ak[rows];
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) ak[i] = vld1q_s8(a + i * lda + k);
        step<rows, 0>(sum, ak, b);
        step<rows, 1>(sum, ak, b);
        step<rows, 2>(sum, ak, b);
        step<rows, 3>(sum, ak, b);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
        integer_sums::finish(g, i, j, sum[i][0]);
        if (j + 4 < g.n) integer_sums::finish(g, i, j + 4, sum[i][1]);
    }
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

void gemm_s8_s8_8x8_neondot(const gemm_panel_args &g) noexcept {
    gemm<8>(g);
}

}  // namespace ss1
