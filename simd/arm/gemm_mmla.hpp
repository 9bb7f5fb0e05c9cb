// SPDX-License-Identifier: Apache-2.0
// GEMM with instructions that multiply 2 rows by 2 columns, 8 bytes of k each, into a 2x2 block of sums. Rows are not
// packed: two loads of 16 bytes and two shuffles make two operands, each used for all 8 columns.
//
// An odd last row is its own partner: all rows use the same instruction, whatever m is.
#pragma once
#include "arm/sums.hpp"

namespace ss1 {
namespace {

constexpr size_t nt = 8;

inline uint8x16_t low_halves(uint8x16_t a, uint8x16_t b) noexcept {
    return vreinterpretq_u8_u64(vzip1q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
}
inline uint8x16_t high_halves(uint8x16_t a, uint8x16_t b) noexcept {
    return vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
}

// Op defines the element, the sums (sums.hpp), their bytes and the product. A vector of sums holds two rows x two
// columns.
template <class Op, size_t pairs>
void tile(const gemm_panel_args &g, const uint8_t *b, size_t j) noexcept {
    const uint8_t *row[2 * pairs];
    typename Op::sums sum[pairs][nt / 2];
#pragma GCC unroll 4
    for (size_t p = 0; p < pairs; p++) {
        const size_t i = 2 * p, partner = i + 1 < g.m ? i + 1 : i;
        row[i] = static_cast<const uint8_t *>(g.a) + i * g.lda * sizeof(typename Op::element);
        row[i + 1] = static_cast<const uint8_t *>(g.a) + partner * g.lda * sizeof(typename Op::element);
#pragma GCC unroll 2
        for (size_t v = 0; v < nt / 2; v += 2) {
            const uint8x16_t first = Op::bytes(Op::start(g, i, j + 2 * v));
            const uint8x16_t second = Op::bytes(Op::start(g, partner, j + 2 * v));
            sum[p][v] = Op::of_bytes(low_halves(first, second));
            sum[p][v + 1] = Op::of_bytes(high_halves(first, second));
        }
    }
    const size_t end = g.k * sizeof(typename Op::element);
    for (size_t k = 0; k < end; k += 16, b += 16 * nt) {
        uint8x16_t a[pairs][2];
#pragma GCC unroll 4
        for (size_t p = 0; p < pairs; p++) {
            const uint8x16_t first = vld1q_u8(row[2 * p] + k), second = vld1q_u8(row[2 * p + 1] + k);
            a[p][0] = low_halves(first, second);
            a[p][1] = high_halves(first, second);
        }
#pragma GCC unroll 2
        for (size_t half = 0; half < 2; half++) {
#pragma GCC unroll 4
            for (size_t v = 0; v < nt / 2; v++) {
                const uint8x16_t columns = vld1q_u8(b + 8 * nt * half + 16 * v);
#pragma GCC unroll 4
                for (size_t p = 0; p < pairs; p++) sum[p][v] = Op::multiply(sum[p][v], a[p][half], columns);
            }
            asm volatile("");  // else GCC moves all loads of b to the front and, short of registers, spills sums
        }
    }
#pragma GCC unroll 4
    for (size_t p = 0; p < pairs; p++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < nt / 2; v += 2) {
            if (j + 2 * v >= g.n) continue;
            const uint8x16_t first = Op::bytes(sum[p][v]), second = Op::bytes(sum[p][v + 1]);
            Op::finish(g, 2 * p, j + 2 * v, Op::of_bytes(low_halves(first, second)));
            if (2 * p + 1 < g.m) Op::finish(g, 2 * p + 1, j + 2 * v, Op::of_bytes(high_halves(first, second)));
        }
    }
}

// Calls the instance for the number of row pairs, by counting down from `pairs`.
template <class Op, size_t pairs>
void gemm(const gemm_panel_args &g) noexcept {
    if constexpr (pairs > 1)
        if (g.m <= 2 * (pairs - 1)) return gemm<Op, pairs - 1>(g);
    if (g.m == 0) return;
    const uint8_t *b = static_cast<const uint8_t *>(g.b);
    for (size_t j = 0; j < g.n; j += nt, b += g.ldb * sizeof(typename Op::element)) tile<Op, pairs>(g, b, j);
}

}  // namespace
}  // namespace ss1
