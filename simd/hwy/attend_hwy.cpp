// SPDX-License-Identifier: Apache-2.0
// The attention of one head by FMAs, for rows of f32 or bf16: up to 14 queries at a time are multiplied by blocks of up
// to 256 keys, whose scores stay in L1 and become weights where they lie. The softmax is online, so memory does not
// grow with n^2. Keys and values are packed once, and all is f32 from then on. The products are those of a GEMM; what
// is gained over separate ones is around them: keys are transposed in registers, the scale is in the queries and the
// mask where the sums begin, and the division is that of the result.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/attend_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_SSE4
HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// A tile: `most_rows` queries by nt keys, or by nt columns of values. 28 of 32 registers hold its sums on AVX-512, 12
// of 16 on AVX2, 24 of 32 on NEON.
constexpr size_t vectors = lanes == 4 ? 4 : 2, nt = vectors * lanes;
constexpr size_t most_rows = lanes == 16 ? 14 : 6, rows_at_once = 4;
constexpr size_t most_keys = attend_block_keys, lds = most_keys + 16;  // not a power of two: sets of L1
constexpr float lowest = -3.402823466e38f;

// The scratch of a call: keys [padded/nt][d][nt], values [ld/nt][n][nt] and the mask [padded] in the units of scores;
// then of a panel the queries [d], scores or weights, sums [ld], and for each row maximum, sum of weights, and the
// factor by which the latest block has scaled both down. ld: d rounded up to a multiple of nt.
struct parts {
    float *keys, *values, *mask, *queries, *scores, *sums, *max, *total, *factor;
    size_t padded, ld;
};

HWY_INLINE parts make_parts(const attend_args &g) {
    parts p;
    p.padded = (g.n + nt - 1) / nt * nt;
    p.ld = (g.d + nt - 1) / nt * nt;
    p.keys = static_cast<float *>(g.scratch);
    p.values = p.keys + p.padded * g.d;
    p.mask = p.values + g.n * p.ld;
    p.sums = p.mask + p.padded;
    p.scores = p.sums + most_rows * p.ld;
    p.queries = p.scores + most_rows * lds;
    p.max = p.queries + most_rows * g.d;
    p.total = p.max + most_rows;
    p.factor = p.total + most_rows;
    return p;
}

using quads = hn::FixedTag<float, 4>;

HWY_INLINE hn::Vec<quads> load_quad(const float *p) {
    return hn::LoadU(quads(), p);
}
HWY_INLINE hn::Vec<quads> load_quad(const uint16_t *p) {
    const hn::FixedTag<uint32_t, 4> d32;
    const auto wide = hn::PromoteTo(d32, hn::LoadU(hn::FixedTag<uint16_t, 4>(), p));
    return hn::BitCast(quads(), hn::ShiftLeft<16>(wide));
}

// Four columns from c on of every fourth row of n, one row in each block of 128 bits.
template <size_t n, class T>
HWY_INLINE hn::Vec<hn::FixedTag<float, n>> load_blocks(const T *const *row, size_t c) {
    if constexpr (n == 4) {
        return load_quad(row[0] + c);
    } else {
        const hn::FixedTag<float, n> all;
        return hn::Combine(all, load_blocks<n / 2>(row + n / 2, c), load_blocks<n / 2>(row, c));
    }
}

// Rows from n on repeat the last one: their scores are -inf by the mask.
template <class T>
HWY_INLINE void pack_keys(const attend_args &g, const parts &p) {
    const hn::Repartition<double, floats> d64;
    const T *k = static_cast<const T *>(g.k);
    const size_t columns = g.d;
    for (size_t j = 0; j < p.padded; j += lanes) {
        const T *rows[lanes];
        for (size_t i = 0; i < lanes; i++) rows[i] = k + (j + i < g.n ? j + i : g.n - 1) * g.ld;
        float *to = p.keys + j / nt * nt * columns + j % nt;
        for (size_t c = 0; c < columns; c += 4, to += 4 * nt) {
            // 4 x 4 values of each block change places.
            const vec r0 = load_blocks<lanes>(rows, c), r1 = load_blocks<lanes>(rows + 1, c);
            const vec r2 = load_blocks<lanes>(rows + 2, c), r3 = load_blocks<lanes>(rows + 3, c);
            const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
            const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
            const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
            const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
            hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, to);
            hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, to + nt);
            hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, to + 2 * nt);
            hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, to + 3 * nt);
        }
    }
}

template <class T>
HWY_INLINE vec widen(const T *p) {
    return read_at(p, 0, lanes);
}

template <class T>
HWY_INLINE void pack_values(const attend_args &g, const parts &p) {
    const size_t n = g.n, ld = g.ld, columns = g.d;
    float *to = p.values;
    for (size_t c = 0; c < p.ld; c += nt) {
        const T *from = static_cast<const T *>(g.v) + c;
        for (size_t j = 0; j < n; j++, from += ld, to += nt)
#pragma GCC unroll 4
            for (size_t v = 0; v < nt; v += lanes)
                hn::Store(c + v < columns ? widen(from + v) : hn::Zero(d), d, to + v);
    }
}

// Scores are multiplied by `unit`, so that a weight is a power of two. Of a mask only what is finite must stay finite:
// -inf hides a key even from a query that sees no other.
HWY_INLINE void make_mask(const attend_args &g, const parts &p, float unit) {
    const float hidden = -__builtin_inff();
    for (size_t j = 0; j < p.padded; j++) {
        const float m = j >= g.n ? hidden : g.mask ? g.mask[j] : 0.0f, scaled = m * unit;
        p.mask[j] = scaled < lowest && m >= lowest ? lowest : scaled;
    }
}

// y [rows, nt] = a [rows, k] times the packed tile b, added to start [rows, nt] times a factor of each row.
struct product {
    const float *a, *b, *start, *factor;
    float *y;
    size_t lda, k, ld_start, ldy;
};

template <size_t rows>
HWY_NOINLINE void multiply(const product &p) {
    const float *a = p.a, *b = p.b;
    float *y = p.y;
    const size_t lda = p.lda, ldy = p.ldy;
    vec acc[rows][vectors];
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            acc[i][v] = hn::Mul(hn::Load(d, p.start + i * p.ld_start + v * lanes), hn::Set(d, p.factor[i]));
    for (size_t k = 0; k < p.k; k++, b += nt) {
        vec bk[vectors];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) bk[v] = hn::Load(d, b + v * lanes);
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const vec ak = hn::Set(d, a[i * lda + k]);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) acc[i][v] = hn::MulAdd(ak, bk[v], acc[i][v]);
            // Else GCC moves the loads of all rows to the front and, short of registers, spills sums.
            if (HWY_ARCH_ARM && i % 2) asm volatile("");
        }
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) hn::Store(acc[i][v], d, y + i * ldy + v * lanes);
}

// 2^x for x <= 0, with a relative error of at most 2e-7; below -126.5 it is 0, and NaN stays NaN. The sum with `magic`
// has x, rounded, and the bias of the exponent in its last bits.
HWY_INLINE vec exp2(vec x) {
    const vec magic = hn::Set(d, 0x1.8p23f + 127);
    const vec clamped = hn::Max(hn::Set(d, -127.0f), x);  // of a NaN and a number, Max gives the second or NaN
    const vec shifted = hn::Add(clamped, magic);
    const vec f = hn::Sub(clamped, hn::Sub(shifted, magic));
    vec p = hn::Set(d, 1.32764725e-3f);
    p = hn::MulAdd(p, f, hn::Set(d, 9.67554096e-3f));
    p = hn::MulAdd(p, f, hn::Set(d, 5.55071309e-2f));
    p = hn::MulAdd(p, f, hn::Set(d, 2.40221202e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 6.93146944e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.00000012f));
    return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(words(), shifted))));
}

// Turns the scores of some rows from i on into weights, and updates their maximum, sum and factor: several rows at
// once, since one waits for the latency of its exponentials. A maximum is at least `lowest`: where -inf hides all keys
// so far, their weights are 0, not NaN.
template <size_t rows>
HWY_INLINE void weigh_rows(const parts &p, size_t i, size_t padded) {
    float *s = p.scores + i * lds;
    vec max[rows], sum[rows];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++) max[r] = hn::Set(d, p.max[i + r]), sum[r] = hn::Zero(d);
    for (size_t j = 0; j < padded; j += lanes)
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) max[r] = hn::Max(max[r], hn::Load(d, s + r * lds + j));
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++) max[r] = hn::MaxOfLanes(d, max[r]);
    for (size_t j = 0; j < padded; j += lanes)
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) {
            const vec w = exp2(hn::Sub(hn::Load(d, s + r * lds + j), max[r]));
            sum[r] = hn::Add(sum[r], w);
            hn::Store(w, d, s + r * lds + j);
        }
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++) {
        const float factor = hn::GetLane(exp2(hn::Sub(hn::Set(d, p.max[i + r]), max[r])));
        p.total[i + r] = p.total[i + r] * factor + hn::GetLane(hn::SumOfLanes(d, sum[r]));
        p.factor[i + r] = factor;
        p.max[i + r] = hn::GetLane(max[r]);
    }
}

// Calls the instance for `rows` rows, by counting down.
template <size_t most = rows_at_once>
HWY_INLINE void weigh(const parts &p, size_t i, size_t rows, size_t padded) {
    if constexpr (most > 1)
        if (rows < most) return weigh<most - 1>(p, i, rows, padded);
    weigh_rows<most>(p, i, padded);
}

template <size_t most = most_rows>
HWY_INLINE void multiply_rows(size_t rows, const product &q) {
    if constexpr (most > 1)
        if (rows < most) return multiply_rows<most - 1>(rows, q);
    multiply<most>(q);
}

template <class T>
HWY_INLINE void attend_panel(const attend_args &g, const parts &p, size_t i0, size_t rows, float unit) {
    constexpr float ones[14] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const size_t columns = g.d;
    const T *q = static_cast<const T *>(g.q) + i0 * g.ld;
    for (size_t i = 0; i < rows; i++, q += g.ld) {
        for (size_t c = 0; c < columns; c += lanes)
            hn::Store(hn::Mul(widen(q + c), hn::Set(d, unit)), d, p.queries + i * columns + c);
        for (size_t c = 0; c < p.ld; c += lanes) hn::Store(hn::Zero(d), d, p.sums + i * p.ld + c);
        p.max[i] = lowest;
        p.total[i] = 0;
    }
    for (size_t j0 = 0; j0 < p.padded; j0 += most_keys) {
        const size_t padded = p.padded - j0 < most_keys ? p.padded - j0 : most_keys;
        const size_t keys = g.n - j0 < padded ? g.n - j0 : padded;
        for (size_t j = 0; j < padded; j += nt)
            multiply_rows(rows, {.a = p.queries,
                                 .b = p.keys + (j0 + j) * g.d,
                                 .start = p.mask + j0 + j,
                                 .factor = ones,
                                 .y = p.scores + j,
                                 .lda = g.d,
                                 .k = g.d,
                                 .ld_start = 0,
                                 .ldy = lds});
        const size_t groups = (rows + rows_at_once - 1) / rows_at_once;
        for (size_t r = 0; r < groups; r++) {
            const size_t i = rows * r / groups;
            weigh(p, i, rows * (r + 1) / groups - i, padded);
        }
        for (size_t c = 0; c < p.ld; c += nt)
            multiply_rows(rows, {.a = p.scores,
                                 .b = p.values + c * g.n + j0 * nt,
                                 .start = p.sums + c,
                                 .factor = p.factor,
                                 .y = p.sums + c,
                                 .lda = lds,
                                 .k = keys,
                                 .ld_start = p.ld,
                                 .ldy = p.ld});
    }
    T *y = static_cast<T *>(g.y) + i0 * g.ld;
    for (size_t i = 0; i < rows; i++, y += g.ld) {
        const vec inverse = hn::Set(d, 1.0f / p.total[i]);
        for (size_t c = 0; c < columns; c += lanes)
            write_at(hn::Mul(hn::Load(d, p.sums + i * p.ld + c), inverse), y + c, 0, lanes);
    }
}

// Panels of equal height, as in a linear layer.
template <class T>
HWY_NOINLINE void attend(const attend_args &g) noexcept {
    const parts p = make_parts(g);
    const float unit = g.scale * 1.44269504f;
    pack_keys<T>(g, p);
    pack_values<T>(g, p);
    make_mask(g, p, unit);
    const size_t panels = (g.m + most_rows - 1) / most_rows;
    for (size_t i = 0; i < panels; i++) {
        const size_t i0 = g.m * i / panels;
        attend_panel<T>(g, p, i0, g.m * (i + 1) / panels - i0, unit);
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void attend_f32_hwy_avx512(const attend_args &g) noexcept {
    HWY_NAMESPACE::attend<float>(g);
}
void attend_bf16_hwy_avx512(const attend_args &g) noexcept {
    HWY_NAMESPACE::attend<uint16_t>(g);
}
#elif HWY_TARGET == HWY_AVX2
void attend_f32_hwy_avx2(const attend_args &g) noexcept {
    HWY_NAMESPACE::attend<float>(g);
}
void attend_bf16_hwy_avx2(const attend_args &g) noexcept {
    HWY_NAMESPACE::attend<uint16_t>(g);
}
#elif HWY_TARGET == HWY_NEON
void attend_f32_hwy_neon(const attend_args &g) noexcept {
    HWY_NAMESPACE::attend<float>(g);
}
void attend_bf16_hwy_neon(const attend_args &g) noexcept {
    HWY_NAMESPACE::attend<uint16_t>(g);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
#endif
