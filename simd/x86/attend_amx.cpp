// SPDX-License-Identifier: Apache-2.0
// The attention of one head on AMX tiles: 32 queries at a time are multiplied by blocks of up to 256 keys. The scores
// (32 KB) and weights (16 KB) of a block stay in L1 and L2; the softmax is online (Milakov, Gimelshein: Online
// normalizer calculation for softmax, 2018), so memory does not grow with n^2.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/amx_tiles.hpp"
#include "x86/attend_avx512.hpp"
#include "x86/bf16_avx512.hpp"

namespace ss1 {
namespace {

constexpr size_t queries = 32, most_keys = attend_block_keys;
// Not powers of two: rows at such a distance would share a few sets of L1.
constexpr size_t lds = most_keys + 16, ldp = most_keys + 32;
constexpr size_t tile_elements = 512;

// Tiles 0-3 hold sums, 4-5 a, 6-7 b.
template <int c, int a, int b>
inline void product() noexcept {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b));
}

// The scratch of a call: packed keys [d/32][n/16] and values [d/16][n/32] in tiles, then weights, scores and sums of a
// block.
struct parts {
    uint16_t *keys, *values, *weights;
    float *scores, *sums, *max, *total, *factor;
    size_t key_groups, value_groups;  // groups of 16 and of 32 keys; both cover a multiple of 32
};

parts make_parts(const attend_args &g) noexcept {
    parts p;
    p.value_groups = (g.n + 31) / 32;
    p.key_groups = 2 * p.value_groups;
    p.keys = static_cast<uint16_t *>(g.scratch);
    p.values = p.keys + p.value_groups * 32 * g.d;
    p.weights = p.values + p.value_groups * 32 * g.d;
    p.scores = reinterpret_cast<float *>(p.weights + queries * ldp);
    p.sums = p.scores + queries * lds;
    p.max = p.sums + queries * g.d;
    p.total = p.max + queries;
    p.factor = p.total + queries;
    return p;
}

// Row p of tile (s, j) holds pair p of the columns from 32 s on, for the keys 16 j to 16 j + 15. Keys from n on are
// zero.
void pack_keys(const attend_args &g, const parts &p) noexcept {
    const auto *k = static_cast<const uint16_t *>(g.k);
    for (size_t s = 0; s < g.d / 32; s++)
        for (size_t j = 0; j < p.key_groups; j++) {
            __m512i r[16];
            for (size_t i = 0; i < 16; i++)
                r[i] = j * 16 + i < g.n ? _mm512_loadu_si512(k + (j * 16 + i) * g.ld + s * 32) : _mm512_setzero_si512();
            transpose(r);
            uint16_t *to = p.keys + (s * p.key_groups + j) * tile_elements;
            for (size_t i = 0; i < 16; i++) _mm512_store_si512(to + i * 32, r[i]);
        }
}

// Tile (c, j) holds the 16 columns from 16 c on of the keys 32 j to 32 j + 31, which are paired. Keys from n on are
// zero.
void pack_values(const attend_args &g, const parts &p) noexcept {
    const auto *v = static_cast<const uint16_t *>(g.v);
    const auto row = [&g, v](size_t i, size_t column) {
        if (i >= g.n) return _mm512_setzero_si512();
        return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(v + i * g.ld + column)));
    };
    for (size_t c = 0; c < g.d / 16; c++)
        for (size_t i = 0; i < p.value_groups * 32; i += 2) {
            const __m512i both = _mm512_or_si512(row(i, c * 16), _mm512_slli_epi32(row(i + 1, c * 16), 16));
            _mm512_store_si512(p.values + c * p.value_groups * tile_elements + i * 16, both);
        }
}

// Computes the scores of the queries from i0 on with the keys [j0, j1), multiples of 32. `both`: more than 16 queries.
template <bool both>
void multiply_keys(const attend_args &g, const parts &p, size_t i0, size_t j0, size_t j1) noexcept {
    const uint16_t *q = static_cast<const uint16_t *>(g.q) + i0 * g.ld;
    const size_t stride = g.ld * sizeof(uint16_t);
    for (size_t j = j0; j < j1; j += 32) {
        zero<0>();
        zero<1>();
        if (both) zero<2>();
        if (both) zero<3>();
        for (size_t s = 0; s < g.d / 32; s++) {
            const uint16_t *k = p.keys + (s * p.key_groups + j / 16) * tile_elements;
            load<6>(k, 64);
            load<7>(k + tile_elements, 64);
            load<4>(q + s * 32, stride);
            if (both) load<5>(q + 16 * g.ld + s * 32, stride);
            product<0, 4, 6>();
            product<1, 4, 7>();
            if (both) product<2, 5, 6>();
            if (both) product<3, 5, 7>();
        }
        float *to = p.scores + (j - j0);
        store<0>(to, lds * sizeof(float));
        store<1>(to + 16, lds * sizeof(float));
        if (both) store<2>(to + 16 * lds, lds * sizeof(float));
        if (both) store<3>(to + 16 * lds + 16, lds * sizeof(float));
    }
}

// Turns the scores of one query with the keys from j0 on into weights, and updates their running maximum and sum.
template <bool masked>
void weigh_row(const attend_args &g, const parts &p, size_t i, size_t j0, size_t j1) noexcept {
    const float *s = p.scores + i * lds, *mask = masked ? g.mask + j0 : s;  // unused unless `masked`
    const __m512 lowest = _mm512_set1_ps(least_max), scale = _mm512_set1_ps(g.scale * 1.44269504f);
    const size_t keys = (j1 < g.n ? j1 : g.n) - j0, whole = keys / 32 * 32;
    const size_t left = keys - whole, left_high = left > 16 ? left - 16 : 0;
    __m512 max[2] = {lowest, lowest};
    for (size_t j = 0; j < whole; j += 32) {
        max[0] = _mm512_max_ps(max[0], score<masked>(s + j, mask + j, 16));
        max[1] = _mm512_max_ps(max[1], score<masked>(s + j + 16, mask + j + 16, 16));
    }
    if (left) {
        max[0] = _mm512_max_ps(max[0], score<masked>(s + whole, mask + whole, left));
        max[1] = _mm512_max_ps(max[1], score<masked>(s + whole + 16, mask + whole + 16, left_high));
    }
    float top = _mm512_reduce_max_ps(_mm512_max_ps(max[0], max[1]));
    if (j0 && p.max[i] > top) top = p.max[i];
    const __m512 center = _mm512_set1_ps(top);
    const auto weight = [&](__m512 v) { return exp2(_mm512_mul_ps(_mm512_sub_ps(v, center), scale)); };
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    uint16_t *to = p.weights + i * ldp;
    const auto put = [&](size_t j, __m512 low, __m512 high) {
        sum[0] = _mm512_add_ps(sum[0], low);
        sum[1] = _mm512_add_ps(sum[1], high);
        _mm512_storeu_si512(to + j, narrowed(low, high));
    };
    for (size_t j = 0; j < whole; j += 32)
        put(j, weight(score<masked>(s + j, mask + j, 16)), weight(score<masked>(s + j + 16, mask + j + 16, 16)));
    if (left)
        put(whole, weight(score<masked>(s + whole, mask + whole, left)),
            weight(score<masked>(s + whole + 16, mask + whole + 16, left_high)));
    float total = _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
    if (j0) {
        p.factor[i] = _mm512_cvtss_f32(weight(_mm512_set1_ps(p.max[i])));
        total += p.total[i] * p.factor[i];
    }
    p.total[i] = total;
    p.max[i] = top;
}

// Scales the sums of earlier blocks down where the maximum has grown.
void rescale(const attend_args &g, const parts &p, size_t rows) noexcept {
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < g.d; c += 16) {
            float *at = p.sums + i * g.d + c;
            _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(p.factor[i])));
        }
}

// Adds the weighted values of the keys [j0, j1) to the sums, or starts the sums.
template <bool both>
void multiply_values(const attend_args &g, const parts &p, size_t j0, size_t j1) noexcept {
    const size_t stride = g.d * sizeof(float);
    for (size_t c = 0; c < g.d; c += 32) {
        float *sums = p.sums + c;
        if (j0 == 0) {
            zero<0>();
            zero<1>();
            if (both) zero<2>();
            if (both) zero<3>();
        } else {
            load<0>(sums, stride);
            load<1>(sums + 16, stride);
            if (both) load<2>(sums + 16 * g.d, stride);
            if (both) load<3>(sums + 16 * g.d + 16, stride);
        }
        const uint16_t *v = p.values + (c / 16 * p.value_groups + j0 / 32) * tile_elements;
        for (size_t j = 0; j < j1 - j0; j += 32, v += tile_elements) {
            load<6>(v, 64);
            load<7>(v + p.value_groups * tile_elements, 64);
            load<4>(p.weights + j, ldp * sizeof(uint16_t));
            if (both) load<5>(p.weights + 16 * ldp + j, ldp * sizeof(uint16_t));
            product<0, 4, 6>();
            product<1, 4, 7>();
            if (both) product<2, 5, 6>();
            if (both) product<3, 5, 7>();
        }
        store<0>(sums, stride);
        store<1>(sums + 16, stride);
        if (both) store<2>(sums + 16 * g.d, stride);
        if (both) store<3>(sums + 16 * g.d + 16, stride);
    }
}

void finish(const attend_args &g, const parts &p, size_t i0, size_t rows) noexcept {
    auto *y = static_cast<uint16_t *>(g.y);
    for (size_t i = 0; i < rows; i++) {
        const __m512 inverse = _mm512_set1_ps(1.0f / p.total[i]);
        for (size_t c = 0; c < g.d; c += 32) {
            const float *at = p.sums + i * g.d + c;
            const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(at), inverse);
            const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(at + 16), inverse);
            _mm512_storeu_si512(y + (i0 + i) * g.ld + c, narrowed(low, high));
        }
    }
}

template <bool both>
void attend_rows(const attend_args &g, const parts &p, size_t i0, size_t rows) noexcept {
    const size_t end = p.value_groups * 32;
    for (size_t j0 = 0; j0 < end; j0 += most_keys) {
        const size_t j1 = end - j0 < most_keys ? end : j0 + most_keys;
        multiply_keys<both>(g, p, i0, j0, j1);
        for (size_t i = 0; i < rows; i++) g.mask ? weigh_row<true>(g, p, i, j0, j1) : weigh_row<false>(g, p, i, j0, j1);
        if (j0) rescale(g, p, rows);
        multiply_values<both>(g, p, j0, j1);
    }
    finish(g, p, i0, rows);
}

}  // namespace

void attend_bf16_amx(const attend_args &g) noexcept {
    const parts p = make_parts(g);
    pack_keys(g, p);
    pack_values(g, p);
    for (size_t i = 0; i < g.m; i += queries) {
        const size_t rows = g.m - i < queries ? g.m - i : queries;
        rows > 16 ? attend_rows<true>(g, p, i, rows) : attend_rows<false>(g, p, i, rows);
    }
}

}  // namespace ss1
