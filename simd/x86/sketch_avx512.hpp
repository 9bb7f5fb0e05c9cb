// SPDX-License-Identifier: Apache-2.0
// Sketch on AVX-512, for every type of x and s: the sums of one group stay in registers while its c blocks of x are
// read. Rows are the outer loop, so x is read from front to back; the entries of all groups stay in L1.
//
// One sketch: 32 neighbours of a block become a pair of vectors of 16 lanes. A bf16 pair holds the even and the odd
// elements, so that widening is one shift and one mask; 32 elements take 4 arithmetic instructions in all. Their
// places, wraps and the end of x included, are computed once for all rows: computing the masks for each row was more
// work than the sums. Several sketches: each group of x is widened once into L1, two copies of each block in a row, so
// that a rotated block is contiguous; a sketch then takes one load and one FMA for 16 elements.
//
// Rotations by multiples of 16, the usual ones, never cut 16 neighbours: whole blocks are then read from x itself, and
// rows are the inner loop, so that the places of a group are computed once for 8 rows.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "x86/bf16_avx512.hpp"

namespace ss1 {
namespace {

// Masks the lanes below `count`, of 16 or 32.
inline __mmask32 below(size_t count) noexcept {
    return count < 32 ? (__mmask32{1} << count) - 1 : ~__mmask32{0};
}

struct pair {
    __m512 first, second;
};

// The places of 32 elements: the lanes of front_lanes are loaded from one place, those of back_lanes from another;
// others are zero. No other memory is read.
struct piece {
    ptrdiff_t front, back;  // places of lane 0, in elements from the row's start; `back` may be negative
    __mmask32 front_lanes, back_lanes;
};

// Loads of 32 elements: all, those in `mask` (the others are zero and not read), or a piece. Each type splits them into
// the two vectors in its own way, and a store undoes it.
struct load_f32 {
    using element = float;
    static constexpr bool interleaved = false;
    static pair whole(const element *x) noexcept { return {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)}; }
    static pair halves(const element *first, const element *second) noexcept {
        return {_mm512_loadu_ps(first), _mm512_loadu_ps(second)};
    }
    static pair masked(const element *x, __mmask32 mask) noexcept {
        return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x),
                _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16)};
    }
    static pair gathered(const element *x, const piece &p) noexcept {
        return {half(x + p.front, x + p.back, p.front_lanes, p.back_lanes),
                half(x + p.front + 16, x + p.back + 16, p.front_lanes >> 16, p.back_lanes >> 16)};
    }
    static __m512 half(const element *front, const element *back, __mmask32 front_lanes,
                       __mmask32 back_lanes) noexcept {
        const auto first = static_cast<__mmask16>(front_lanes), second = static_cast<__mmask16>(back_lanes);
        if (first == 0xffff) return _mm512_loadu_ps(front);
        if (second == 0xffff) return _mm512_loadu_ps(back);
        return _mm512_mask_loadu_ps(_mm512_maskz_loadu_ps(first, front), second, back);
    }
};

// Loads both parts of a piece of 2-byte elements.
inline __m512i gather_words(const uint16_t *x, const piece &p) noexcept {
    return _mm512_mask_loadu_epi16(_mm512_maskz_loadu_epi16(p.front_lanes, x + p.front), p.back_lanes, x + p.back);
}

// Loads 16 elements of 2 bytes from each place.
inline __m512i join_words(const uint16_t *first, const uint16_t *second) noexcept {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(first));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low),
                              _mm256_loadu_si256(reinterpret_cast<const __m256i *>(second)), 1);
}

struct load_bf16 {
    using element = uint16_t;
    static constexpr bool interleaved = true;
    static pair widen(__m512i v) noexcept {
        return {_mm512_castsi512_ps(_mm512_slli_epi32(v, 16)),
                _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
    }
    static pair whole(const element *x) noexcept { return widen(_mm512_loadu_si512(x)); }
    static pair halves(const element *first, const element *second) noexcept {
        return widen(join_words(first, second));
    }
    static pair masked(const element *x, __mmask32 mask) noexcept { return widen(_mm512_maskz_loadu_epi16(mask, x)); }
    static pair gathered(const element *x, const piece &p) noexcept { return widen(gather_words(x, p)); }
};

struct load_f16 {
    using element = uint16_t;
    static constexpr bool interleaved = false;
    static pair widen(__m512i v) noexcept {
        return {_mm512_cvtph_ps(_mm512_castsi512_si256(v)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1))};
    }
    static pair whole(const element *x) noexcept { return widen(_mm512_loadu_si512(x)); }
    static pair halves(const element *first, const element *second) noexcept {
        return widen(join_words(first, second));
    }
    static pair masked(const element *x, __mmask32 mask) noexcept { return widen(_mm512_maskz_loadu_epi16(mask, x)); }
    static pair gathered(const element *x, const piece &p) noexcept { return widen(gather_words(x, p)); }
};

// Stores the lanes in `mask` of 32 sums, in the order of memory.
struct store_f32 {
    using element = float;
    template <bool interleaved>
    static void run(element *s, pair v, __mmask32 mask) noexcept {
        if constexpr (interleaved) {
            const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            v = {_mm512_permutex2var_ps(v.first, low, v.second), _mm512_permutex2var_ps(v.first, high, v.second)};
        }
        _mm512_mask_storeu_ps(s, static_cast<__mmask16>(mask), v.first);
        _mm512_mask_storeu_ps(s + 16, static_cast<__mmask16>(mask >> 16), v.second);
    }
};

#ifdef __AVX512BF16__
struct store_bf16 {
    using element = uint16_t;
    template <bool interleaved>
    static void run(element *s, pair v, __mmask32 mask) noexcept {
        __m512i h = narrowed(v.first, v.second);
        if constexpr (interleaved) {
            alignas(64) static constexpr uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                               21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                               11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
            h = _mm512_permutexvar_epi16(_mm512_load_si512(order), h);
        }
        _mm512_mask_storeu_epi16(s, mask, h);
    }
};
#endif

// Lane l is column (first + l) mod block_k of the block that begins at `begin` and has `exist` columns. A block of 16
// fills the low lanes only.
inline piece find_piece(size_t begin, size_t first, size_t block_k, size_t exist) noexcept {
    const __mmask32 lanes = below(block_k), front = below(block_k - first);
    const ptrdiff_t at = static_cast<ptrdiff_t>(begin + first);
    return {at, at - static_cast<ptrdiff_t>(block_k), lanes & front & below(exist > first ? exist - first : 0),
            lanes & ~front & below(block_k - first + exist)};
}

// Computes one group of one sketch of row x: block q has sign_at(q) and the pieces piece_at(q, v).
template <class X, class S, size_t block_k, class P, class N>
inline void group(const typename X::element *x, typename S::element *s, size_t c, P &&piece_at, N &&sign_at) noexcept {
    constexpr size_t pairs = block_k < 32 ? 1 : block_k / 32;
    pair sum[pairs];
#pragma GCC unroll 8
    for (size_t v = 0; v < pairs; v++) sum[v] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t q = 0; q < c; q++) {
        const __m512 sign = _mm512_set1_ps(sign_at(q));  // a product with it is exact
#pragma GCC unroll 8
        for (size_t v = 0; v < pairs; v++) {
            const piece &p = piece_at(q, v);
            const pair t = ~p.front_lanes == 0 ? X::whole(x + p.front) : X::gathered(x, p);
            sum[v] = {_mm512_fmadd_ps(sign, t.first, sum[v].first), _mm512_fmadd_ps(sign, t.second, sum[v].second)};
        }
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < pairs; v++)
        S::template run<X::interleaved>(s + 32 * v, sum[v], block_k < 32 ? __mmask32{0xffff} : ~__mmask32{0});
}

// Finds the v-th 32 lanes of a block of a row, rotated by an entry.
template <size_t block_k>
inline piece piece_of(const sketch_args &args, const sketch_entry &entry, size_t block, size_t v) noexcept {
    const size_t begin = block * block_k;
    return find_piece(begin, (32 * v + entry.rotation) % block_k, block_k, args.k > begin ? args.k - begin : 0);
}

inline float sign_of(const sketch_entry &entry) noexcept {
    return entry.negative ? -1.0f : 1.0f;
}

constexpr size_t most_pieces = 512;  // 14 KB of stack

// Computes the groups [g0, g1) of sketch j for all rows.
template <class X, class S, size_t block_k>
void sketch_groups(const sketch_args &args, size_t j, size_t g0, size_t g1) noexcept {
    constexpr size_t pairs = block_k < 32 ? 1 : block_k / 32;
    const sketch_entry *entries = args.entries + j * args.groups * args.c;
    const size_t first = g0 * args.c, blocks = (g1 - g0) * args.c;
    const bool found = blocks * pairs <= most_pieces;  // false for one group with a very large c
    piece pieces[most_pieces];
    float signs[most_pieces];
    for (size_t q = 0; found && q < blocks; q++) {
        signs[q] = sign_of(entries[first + q]);
        for (size_t v = 0; v < pairs; v++)
            pieces[q * pairs + v] = piece_of<block_k>(args, entries[first + q], first + q, v);
    }
    for (size_t i = 0; i < args.m; i++) {
        const auto *x = static_cast<const typename X::element *>(args.x) + i * args.ldx;
        auto *s = static_cast<typename S::element *>(args.s) + i * args.lds + j * args.sketch_stride;
        for (size_t g = g0; g < g1; g++) {
            const size_t block = g * args.c;
            if (found) {
                const piece *here = pieces + (block - first) * pairs;
                const float *sign = signs + (block - first);
                group<X, S, block_k>(
                    x, s + g * block_k, args.c,
                    [here](size_t q, size_t v) -> const piece & { return here[q * pairs + v]; },
                    [sign](size_t q) { return sign[q]; });
            } else {
                group<X, S, block_k>(
                    x, s + g * block_k, args.c,
                    [&](size_t q, size_t v) { return piece_of<block_k>(args, entries[block + q], block + q, v); },
                    [&](size_t q) { return sign_of(entries[block + q]); });
            }
        }
    }
}

constexpr size_t widest_group = 4096;  // floats of a widened group with its copies: 16 KB of L1

// Widens the blocks of one group and writes two copies of each.
template <class X, size_t block_k>
inline void widen(const typename X::element *x, float *wide, size_t c, size_t exist) noexcept {
    for (size_t q = 0; q < c; q++, wide += 2 * block_k) {
        const size_t here = exist < block_k ? exist : block_k;
        for (size_t u = 0; u < block_k; u += 32) {
            const size_t left = here > u ? here - u : 0;
            const pair t =
                left >= 32 && block_k >= 32 ? X::whole(x + u) : X::masked(x + u, below(left) & below(block_k - u));
            const __mmask32 mask = below(block_k - u);
            store_f32::run<X::interleaved>(wide + u, t, mask);
            store_f32::run<X::interleaved>(wide + block_k + u, t, mask);
        }
        x += here;
        exist -= here;
    }
}

template <class S, size_t block_k>
inline void group_of_wide(const float *wide, typename S::element *s, const sketch_entry *entries, size_t c) noexcept {
    constexpr size_t vectors = block_k / 16;
    __m512 sum[vectors + vectors % 2];
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors + vectors % 2; v++) sum[v] = _mm512_setzero_ps();
    for (size_t q = 0; q < c; q++, wide += 2 * block_k) {
        const __m512 sign = _mm512_set1_ps(entries[q].negative ? -1.0f : 1.0f);
#pragma GCC unroll 16
        for (size_t v = 0; v < vectors; v++)
            sum[v] = _mm512_fmadd_ps(sign, _mm512_loadu_ps(wide + entries[q].rotation + 16 * v), sum[v]);
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v += 2)
        S::template run<false>(s + 16 * v, {sum[v], sum[v + 1]}, block_k < 32 ? __mmask32{0xffff} : ~__mmask32{0});
}

// 8 rows: at a distance of 4 KB they share a set of L1, which has 8 to 12 ways.
constexpr size_t most_halves = 512, rows_at_once = 8;

// One group of one sketch of the rows [0, m): 16 elements v of block q are at x + places[q * block_k / 16 + v].
template <class X, class S, size_t block_k>
void group_by_vectors(const sketch_args &args, const typename X::element *x, typename S::element *s, size_t m,
                      const uint32_t *places, const float *signs) noexcept {
    constexpr size_t pairs = block_k / 32;
    for (; m > 0; m--, x += args.ldx, s += args.lds) {
        pair sum[pairs];
#pragma GCC unroll 8
        for (size_t v = 0; v < pairs; v++) sum[v] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        const uint32_t *place = places;
        for (size_t q = 0; q < args.c; q++, place += 2 * pairs) {
            const __m512 sign = _mm512_set1_ps(signs[q]);
#pragma GCC unroll 8
            for (size_t v = 0; v < pairs; v++) {
                const pair t = X::halves(x + place[2 * v], x + place[2 * v + 1]);
                sum[v] = {_mm512_fmadd_ps(sign, t.first, sum[v].first), _mm512_fmadd_ps(sign, t.second, sum[v].second)};
            }
        }
#pragma GCC unroll 8
        for (size_t v = 0; v < pairs; v++) S::template run<X::interleaved>(s + 32 * v, sum[v], ~__mmask32{0});
    }
}

// Computes the first `groups` groups of all sketches; their blocks are whole, and rotations are multiples of 16.
template <class X, class S, size_t block_k>
void sketch_by_vectors(const sketch_args &args, size_t groups) noexcept {
    constexpr size_t halves = block_k / 16;
    uint32_t places[most_halves];
    float signs[most_halves / halves];
    for (size_t i = 0; i < args.m; i += rows_at_once) {
        const size_t m = args.m - i < rows_at_once ? args.m - i : rows_at_once;
        const auto *x = static_cast<const typename X::element *>(args.x) + i * args.ldx;
        auto *s = static_cast<typename S::element *>(args.s) + i * args.lds;
        for (size_t g = 0; g < groups; g++)
            for (size_t j = 0; j < args.sketches; j++) {
                const sketch_entry *entries = args.entries + (j * args.groups + g) * args.c;
                for (size_t q = 0; q < args.c; q++) {
                    signs[q] = sign_of(entries[q]);
                    for (size_t v = 0; v < halves; v++)
                        places[q * halves + v] =
                            static_cast<uint32_t>(q * block_k + (16 * v + entries[q].rotation) % block_k);
                }
                group_by_vectors<X, S, block_k>(args, x + g * args.c * block_k,
                                                s + j * args.sketch_stride + g * block_k, m, places, signs);
            }
    }
}

// The groups that sketch_by_vectors() can compute. For a few rows finding the places costs more than it saves.
template <size_t block_k>
size_t groups_by_vectors(const sketch_args &args) noexcept {
    if (args.m < 4 || block_k < 32 || args.c * (block_k / 16) > most_halves) return 0;
    unsigned rotations = 0;
    for (size_t e = 0; e < args.sketches * args.groups * args.c; e++) rotations |= args.entries[e].rotation;
    return rotations % 16 == 0 ? args.k / (args.c * block_k) : 0;
}

template <class X, class S, size_t block_k>
void several_sketches(const sketch_args &args, size_t first_group) noexcept {
    alignas(64) float wide[widest_group];
    const size_t columns = args.c * block_k, entries = args.groups * args.c;
    for (size_t i = 0; i < args.m; i++) {
        const auto *x = static_cast<const typename X::element *>(args.x) + i * args.ldx;
        auto *s = static_cast<typename S::element *>(args.s) + i * args.lds;
        for (size_t g = first_group; g < args.groups; g++) {
            widen<X, block_k>(x + g * columns, wide, args.c, args.k - g * columns);
            for (size_t j = 0; j < args.sketches; j++)
                group_of_wide<S, block_k>(wide, s + j * args.sketch_stride + g * block_k,
                                          args.entries + j * entries + g * args.c, args.c);
        }
    }
}

template <class X, class S, size_t block_k>
void sketch_rows(const sketch_args &args) noexcept {
    const size_t whole = groups_by_vectors<block_k>(args);
    if constexpr (block_k >= 32)
        if (whole > 0) sketch_by_vectors<X, S, block_k>(args, whole);
    if (whole == args.groups) return;
    if (args.sketches > 1 && 2 * args.c * block_k <= widest_group) return several_sketches<X, S, block_k>(args, whole);
    const size_t group_pieces = args.c * (block_k < 32 ? 1 : block_k / 32);
    const size_t step = group_pieces < most_pieces ? most_pieces / group_pieces : 1;
    for (size_t j = 0; j < args.sketches; j++)
        for (size_t g = whole; g < args.groups; g += step)
            sketch_groups<X, S, block_k>(args, j, g, args.groups - g < step ? args.groups : g + step);
}

template <class X, class S>
void sketch(const sketch_args &args) noexcept {
    switch (args.block_k) {
        case 16:
            return sketch_rows<X, S, 16>(args);
        case 32:
            return sketch_rows<X, S, 32>(args);
        case 64:
            return sketch_rows<X, S, 64>(args);
        case 128:
            return sketch_rows<X, S, 128>(args);
        case 256:
            return sketch_rows<X, S, 256>(args);
        default:
            return;  // no other B_K is valid
    }
}

}  // namespace
}  // namespace ss1
