// SPDX-License-Identifier: Apache-2.0
// The attention of one head by bf16 dot products: up to 12 queries at a time are multiplied by blocks of up to 256
// keys, whose scores (12 KB) and weights (7 KB) stay in L1. As on AMX, the softmax is online, so memory does not grow
// with n^2. Rows of weights are made 4 at a time, three times a panel: one row alone waits for the latency of its
// exponentials and sums.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/attend_avx512.hpp"
#include "x86/bf16_avx512.hpp"
#include "x86/dot_avx512.hpp"

namespace ss1 {
namespace {

constexpr size_t kr = 2;
constexpr size_t most_keys = attend_block_keys, most_rows = 12, rows_at_once = 4;
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
    p.scores = reinterpret_cast<float *>(p.weights + most_rows * ldp);
    p.sums = p.scores + most_rows * lds;
    p.max = p.sums + most_rows * g.d;
    p.total = p.max + 16;
    p.factor = p.total + 16;
    return p;
}

void pack_keys(const attend_args &g, const parts &p) noexcept {
    const auto *k = static_cast<const uint16_t *>(g.k);
    for (size_t j = 0; j < p.padded; j += 16)
        for (size_t c = 0; c < g.d; c += 32) {
            __m512i r[16];
            for (size_t i = 0; i < 16; i++)
                r[i] = j + i < g.n ? _mm512_loadu_si512(k + (j + i) * g.ld + c) : _mm512_setzero_si512();
            transpose(r);
            uint16_t *to = p.keys + j / nt * nt * g.d + c * nt + j % nt * kr;
            for (size_t i = 0; i < 16; i++) _mm512_store_si512(to + i * nt * kr, r[i]);
        }
}

void pack_values(const attend_args &g, const parts &p) noexcept {
    const auto *v = static_cast<const uint16_t *>(g.v);
    const auto row = [&g, v](size_t i, size_t column) {
        return i < g.n ? _mm512_loadu_si512(v + i * g.ld + column) : _mm512_setzero_si512();
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
    accumulators<pairs_of_bf16, rows, 1> acc;
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    multiply<pairs_of_bf16, rows, 1, false>(a, lda, b, 0, kr * pairs, acc);
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) {
        _mm512_store_ps(y + i * ldy, acc[i][0]);
        _mm512_store_ps(y + i * ldy + 16, acc[i][1]);
    }
}
constexpr product by_rows[most_rows] = {
    multiply_tile<1>, multiply_tile<2>, multiply_tile<3>, multiply_tile<4>,  multiply_tile<5>,  multiply_tile<6>,
    multiply_tile<7>, multiply_tile<8>, multiply_tile<9>, multiply_tile<10>, multiply_tile<11>, multiply_tile<12>,
};

// Gives the scores of keys that do not exist -inf, up to the next multiple of 32.
void hide_keys(const parts &p, size_t rows, size_t keys) noexcept {
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
    const __mmask32 hidden = ~__mmask32{0} << keys % nt;
    for (size_t i = 0; i < rows; i++) {
        float *s = p.scores + i * lds + keys / nt * nt;
        _mm512_mask_storeu_ps(s, static_cast<__mmask16>(hidden), lowest);
        _mm512_mask_storeu_ps(s + 16, static_cast<__mmask16>(hidden >> 16), lowest);
    }
}

// The largest, or the sum, of each of 4 vectors, one in each lane.
template <class F>
inline __m128 combine(const __m512 (&v)[rows_at_once], F &&f) noexcept {
    const __m512 first = f(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    const __m512 last = f(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    const __m512d a = _mm512_castps_pd(first), b = _mm512_castps_pd(last);
    const __m512 all =
        f(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));  // 4 of each row
    const __m512 half = f(all, _mm512_shuffle_f32x4(all, all, 0x4e));
    return _mm512_castps512_ps128(f(half, _mm512_shuffle_f32x4(half, half, 0xb1)));
}

// Turns the scores of 4 queries from i on with `keys` keys from j0 on into weights, and updates their running maximum
// and sum. Where there are fewer queries, the last one is read in place of those that are missing, and they are not
// written.
template <bool masked>
void weigh_rows(const attend_args &g, const parts &p, size_t i, size_t rows, size_t j0, size_t keys) noexcept {
    const __m512 scale = _mm512_set1_ps(g.scale * 1.44269504f);
    const size_t padded = (keys + nt - 1) / nt * nt;
    const float *s[rows_at_once];
    uint16_t *w[rows_at_once];
    for (size_t r = 0; r < rows_at_once; r++) {
        const size_t row = i + (r < rows ? r : rows - 1);
        s[r] = p.scores + row * lds;
        w[r] = p.weights + row * ldp;
    }
    const auto mask_at = [&](size_t j) {
        if (!masked || j >= keys) return _mm512_setzero_ps();
        if (j + 16 <= keys) return _mm512_loadu_ps(g.mask + j0 + j);
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << (keys - j)) - 1), g.mask + j0 + j);
    };
    const auto score = [](const float *at, __m512 mask) {
        return masked ? _mm512_add_ps(_mm512_loadu_ps(at), mask) : _mm512_loadu_ps(at);
    };
    __m512 max[rows_at_once], sum[rows_at_once], center[rows_at_once];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows_at_once; r++) max[r] = _mm512_set1_ps(least_max), sum[r] = _mm512_setzero_ps();
    for (size_t j = 0; j < padded; j += 16) {
        const __m512 mask = mask_at(j);
#pragma GCC unroll 4
        for (size_t r = 0; r < rows_at_once; r++) max[r] = _mm512_max_ps(max[r], score(s[r] + j, mask));
    }
    const auto lanes = static_cast<__mmask8>((1u << rows) - 1);
    __m128 top = combine(max, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
    const __m128 top_before = _mm_loadu_ps(p.max + i);
    if (j0) top = _mm_max_ps(top, top_before);
    _mm_mask_storeu_ps(p.max + i, lanes, top);
    alignas(16) float tops[rows_at_once];
    _mm_store_ps(tops, top);
#pragma GCC unroll 4
    for (size_t r = 0; r < rows_at_once; r++) center[r] = _mm512_set1_ps(tops[r < rows ? r : rows - 1]);
    const auto weight = [scale](__m512 v, __m512 from) { return exp2(_mm512_mul_ps(_mm512_sub_ps(v, from), scale)); };
    for (size_t j = 0; j < padded; j += 32) {
        const __m512 mask_low = mask_at(j), mask_high = mask_at(j + 16);
#pragma GCC unroll 4
        for (size_t r = 0; r < rows_at_once; r++) {
            const __m512 low = weight(score(s[r] + j, mask_low), center[r]);
            const __m512 high = weight(score(s[r] + j + 16, mask_high), center[r]);
            sum[r] = _mm512_add_ps(sum[r], _mm512_add_ps(low, high));
            _mm512_storeu_si512(w[r] + j, narrowed(low, high));
        }
    }
    __m128 total = combine(sum, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
    if (j0) {
        const __m128 factor =
            _mm512_castps512_ps128(weight(_mm512_castps128_ps512(top_before), _mm512_castps128_ps512(top)));
        _mm_mask_storeu_ps(p.factor + i, lanes, factor);
        total = _mm_add_ps(total, _mm_mul_ps(_mm_loadu_ps(p.total + i), factor));
    }
    _mm_mask_storeu_ps(p.total + i, lanes, total);
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
    auto *y = static_cast<uint16_t *>(g.y);
    for (size_t i = 0; i < rows; i++) {
        const __m512 inverse = _mm512_set1_ps(1.0f / p.total[i]);
        for (size_t c = 0; c < g.d; c += 32) {
            const float *at = p.sums + i * g.d + c;
            const __m512 low = _mm512_mul_ps(_mm512_load_ps(at), inverse);
            const __m512 high = _mm512_mul_ps(_mm512_load_ps(at + 16), inverse);
            _mm512_storeu_si512(y + (i0 + i) * g.ld + c, narrowed(low, high));
        }
    }
}

void attend_panel(const attend_args &g, const parts &p, size_t i0, size_t rows) noexcept {
    const product multiply_rows = by_rows[rows - 1];
    const uint16_t *q = static_cast<const uint16_t *>(g.q) + i0 * g.ld;
    alignas(64) float tile[most_rows * nt];
    for (size_t j0 = 0; j0 < p.padded; j0 += most_keys) {
        const size_t j1 = p.padded - j0 < most_keys ? p.padded : j0 + most_keys;
        for (size_t j = j0; j < j1; j += nt)
            multiply_rows(q, g.ld, p.keys + j * g.d, g.d / kr, p.scores + (j - j0), lds);
        const size_t keys = (j1 < g.n ? j1 : g.n) - j0;
        if (keys < j1 - j0) hide_keys(p, rows, keys);
        for (size_t i = 0; i < rows; i += rows_at_once) {
            const size_t some = rows - i < rows_at_once ? rows - i : rows_at_once;
            g.mask ? weigh_rows<true>(g, p, i, some, j0, keys) : weigh_rows<false>(g, p, i, some, j0, keys);
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
    for (size_t i = 0; i < g.m; i += most_rows) attend_panel(g, p, i, g.m - i < most_rows ? g.m - i : most_rows);
}

}  // namespace ss1
