// SPDX-License-Identifier: Apache-2.0
// The attention of one head by bf16 dot products: up to 14 queries at a time are multiplied by blocks of up to 256
// keys, whose scores (14 KB) and weights (8 KB) stay in L1. As on AMX, the softmax is online, so memory does not grow
// with n^2. Rows of weights are made 4 at a time: one row alone waits for the latency of its exponentials.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/attend_avx512.hpp"
#include "x86/dot_bf16_avx512.hpp"

namespace ss1 {
namespace {

constexpr size_t most_keys = attend_block_keys, rows_at_once = 4;
// Not powers of two: rows at such a distance would share a few sets of L1.
constexpr size_t lds = most_keys + 16, ldp = most_keys + 32;

// The scratch of a call: keys [n/32][d/2][32][2] and values [d/32][n/2][32][2], packed for the products, and weights,
// scores and sums of a panel. padded: n rounded up to a multiple of 32; keys and values from n on are zero.
struct parts {
    uint16_t *keys, *values, *weights;
    float *scores, *sums, *max, *total, *factor;
    size_t padded;
};

parts make_parts(const attend_args &g) noexcept {
    parts p;
    p.padded = (g.n + nt - 1) / nt * nt;
    p.keys = static_cast<uint16_t *>(g.scratch);
    p.values = p.keys + p.padded * g.d;
    p.weights = p.values + p.padded * g.d;
    p.scores = reinterpret_cast<float *>(p.weights + (mr + 2) * ldp);
    p.sums = p.scores + (mr + 2) * lds;
    p.max = p.sums + (mr + 2) * g.d;
    p.total = p.max + 16;
    p.factor = p.total + 16;
    return p;
}

void pack_keys(const attend_args &g, const parts &p) noexcept {
    for (size_t j = 0; j < p.padded; j += 16)
        for (size_t c = 0; c < g.d; c += 32) {
            __m512i r[16];
            for (size_t i = 0; i < 16; i++)
                r[i] = j + i < g.n ? _mm512_loadu_si512(g.k + (j + i) * g.ld + c) : _mm512_setzero_si512();
            transpose(r);
            uint16_t *to = p.keys + j / nt * nt * g.d + c * nt + j % nt * kr;
            for (size_t i = 0; i < 16; i++) _mm512_store_si512(to + i * nt * kr, r[i]);
        }
}

void pack_values(const attend_args &g, const parts &p) noexcept {
    const auto row = [&g](size_t i, size_t column) {
        return i < g.n ? _mm512_loadu_si512(g.v + i * g.ld + column) : _mm512_setzero_si512();
    };
    // Each pair of rows is interleaved: columns 0 to 15, then 16 to 31.
    alignas(64) static constexpr uint16_t order[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                       8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i low = _mm512_load_si512(order), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    for (size_t c = 0; c < g.d; c += nt)
        for (size_t j = 0; j < p.padded; j += kr) {
            const __m512i even = row(j, c), odd = row(j + 1, c);
            uint16_t *to = p.values + c * p.padded + j * nt;
            _mm512_store_si512(to, _mm512_permutex2var_epi16(even, low, odd));
            _mm512_store_si512(to + 32, _mm512_permutex2var_epi16(even, high, odd));
        }
}

// y [rows, 32] = a [rows, 2 * pairs] times a packed tile.
using product = void (*)(const uint16_t *a, size_t lda, const uint16_t *b, size_t pairs, float *y, size_t ldy) noexcept;
template <size_t rows>
void multiply_tile(const uint16_t *a, size_t lda, const uint16_t *b, size_t pairs, float *y, size_t ldy) noexcept {
    multiply<rows, 1, false>(a, lda, b, 0, pairs, y, ldy, 0);
}
constexpr product by_rows[mr] = {
    multiply_tile<1>,  multiply_tile<2>,  multiply_tile<3>,  multiply_tile<4>,  multiply_tile<5>,
    multiply_tile<6>,  multiply_tile<7>,  multiply_tile<8>,  multiply_tile<9>,  multiply_tile<10>,
    multiply_tile<11>, multiply_tile<12>, multiply_tile<13>, multiply_tile<14>,
};

// Turns the scores of some queries with the keys from j0 on into weights, and updates their running maximum and sum.
// Weights up to the next multiple of 32 keys become zero.
template <bool masked>
void weigh_rows(const attend_args &g, const parts &p, const size_t (&rows)[rows_at_once], size_t j0,
                size_t j1) noexcept {
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff()), scale = _mm512_set1_ps(g.scale * 1.44269504f);
    const size_t keys = (j1 < g.n ? j1 : g.n) - j0;
    const float *mask = masked ? g.mask + j0 : p.scores;  // unused unless `masked`
    const auto left = [keys](size_t j) { return j < keys ? keys - j : 0; };
    __m512 max[rows_at_once], sum[rows_at_once], center[rows_at_once];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows_at_once; r++) max[r] = lowest, sum[r] = _mm512_setzero_ps();
    for (size_t j = 0; j < keys; j += 16)
#pragma GCC unroll 4
        for (size_t r = 0; r < rows_at_once; r++)
            max[r] = _mm512_max_ps(max[r], score<masked>(p.scores + rows[r] * lds + j, mask + j, left(j)));
#pragma GCC unroll 4
    for (size_t r = 0; r < rows_at_once; r++) {
        float top = _mm512_reduce_max_ps(max[r]);
        if (j0 && p.max[rows[r]] > top) top = p.max[rows[r]];
        center[r] = _mm512_set1_ps(top);
    }
    const auto weight = [scale](__m512 v, __m512 from) { return exp2(_mm512_mul_ps(_mm512_sub_ps(v, from), scale)); };
    for (size_t j = 0; j < keys; j += 32)
#pragma GCC unroll 4
        for (size_t r = 0; r < rows_at_once; r++) {
            const float *s = p.scores + rows[r] * lds + j;
            const __m512 low = weight(score<masked>(s, mask + j, left(j)), center[r]);
            const __m512 high = weight(score<masked>(s + 16, mask + j + 16, left(j + 16)), center[r]);
            sum[r] = _mm512_add_ps(sum[r], _mm512_add_ps(low, high));
            _mm512_storeu_si512(p.weights + rows[r] * ldp + j,
                                reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
        }
    float totals[rows_at_once], factors[rows_at_once];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows_at_once; r++) {
        totals[r] = _mm512_reduce_add_ps(sum[r]);
        factors[r] = j0 ? _mm512_cvtss_f32(weight(_mm512_set1_ps(p.max[rows[r]]), center[r])) : 0.0f;
        if (j0) totals[r] += p.total[rows[r]] * factors[r];
    }
    for (size_t r = 0; r < rows_at_once; r++) {
        p.max[rows[r]] = _mm512_cvtss_f32(center[r]);
        p.total[rows[r]] = totals[r];
        p.factor[rows[r]] = factors[r];
    }
}

// Adds to the sums of a panel, scaled down where the maximum has grown, the weighted values of a later block of keys.
void add_block(const parts &p, size_t d, size_t c, const float *tile, size_t rows) noexcept {
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < nt; v += 16) {
            float *at = p.sums + i * d + c + v;
            _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_load_ps(at), _mm512_set1_ps(p.factor[i]),
                                                _mm512_load_ps(tile + i * nt + v)));
        }
}

void finish(const attend_args &g, const parts &p, size_t i0, size_t rows) noexcept {
    for (size_t i = 0; i < rows; i++) {
        const __m512 inverse = _mm512_set1_ps(1.0f / p.total[i]);
        for (size_t c = 0; c < g.d; c += 32) {
            const float *at = p.sums + i * g.d + c;
            const __m512 low = _mm512_mul_ps(_mm512_load_ps(at), inverse);
            const __m512 high = _mm512_mul_ps(_mm512_load_ps(at + 16), inverse);
            _mm512_storeu_si512(g.y + (i0 + i) * g.ld + c, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
        }
    }
}

void attend_panel(const attend_args &g, const parts &p, size_t i0, size_t rows) noexcept {
    const product multiply_rows = by_rows[rows - 1];
    const uint16_t *q = g.q + i0 * g.ld;
    alignas(64) float tile[mr * nt];
    for (size_t j0 = 0; j0 < p.padded; j0 += most_keys) {
        const size_t j1 = p.padded - j0 < most_keys ? p.padded : j0 + most_keys;
        for (size_t j = j0; j < j1; j += nt)
            multiply_rows(q, g.ld, p.keys + j * g.d, g.d / kr, p.scores + (j - j0), lds);
        for (size_t i = 0; i < rows; i += rows_at_once) {
            size_t some[rows_at_once];  // the last row fills up the last group
            for (size_t r = 0; r < rows_at_once; r++) some[r] = i + r < rows ? i + r : rows - 1;
            g.mask ? weigh_rows<true>(g, p, some, j0, j1) : weigh_rows<false>(g, p, some, j0, j1);
        }
        for (size_t c = 0; c < g.d; c += nt) {
            const uint16_t *values = p.values + c * p.padded + j0 * nt;
            const size_t pairs = (j1 - j0) / kr;
            if (j0 == 0) {
                multiply_rows(p.weights, ldp, values, pairs, p.sums + c, g.d);
            } else {
                multiply_rows(p.weights, ldp, values, pairs, tile, nt);
                add_block(p, g.d, c, tile, rows);
            }
        }
    }
    finish(g, p, i0, rows);
}

}  // namespace

void attend_bf16_avx512bf16(const attend_args &g) noexcept {
    const parts p = make_parts(g);
    pack_keys(g, p);
    pack_values(g, p);
    const size_t panels = (g.m + mr - 1) / mr;
    for (size_t i = 0; i < panels; i++) {
        const size_t begin = g.m * i / panels;
        attend_panel(g, p, begin, g.m * (i + 1) / panels - begin);
    }
}

}  // namespace ss1
