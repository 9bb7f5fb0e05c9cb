// SPDX-License-Identifier: Apache-2.0
// Sketch on AVX-512, for every type of x and s: the sums of one group stay in registers while its c blocks of x stream
// by. Rows are the outer loop, so x is read from front to back; the entries of all groups stay in L1.
//
// One sketch: sums are made of pairs of 16 lanes from the 32 neighbours of a block. bf16 pairs are the even and the odd
// elements, so that widening is one shift and one mask for 32 elements; 4 arithmetic instructions for 32 in all.
// Several sketches: each group of x is widened once into L1, every block twice in a row, so that a rotated block is
// there without a wrap; a sketch then is one load and one FMA for 16 elements.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

// Lanes below `count`, of 16 or 32.
inline __mmask32 below(size_t count) noexcept {
    return count < 32 ? (__mmask32{1} << count) - 1 : ~__mmask32{0};
}

struct pair {
    __m512 first, second;
};

// Loads of 32 elements of which those outside of `mask` are zero and not touched; how they fall into the two halves is
// the type's own business, and join() undoes it.
struct load_f32 {
    using element = float;
    static constexpr bool interleaved = false;
    static pair whole(const element *x) noexcept { return {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)}; }
    static pair masked(const element *x, __mmask32 mask) noexcept {
        return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x),
                _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16)};
    }
};

struct load_bf16 {
    using element = uint16_t;
    static constexpr bool interleaved = true;
    static pair widen(__m512i v) noexcept {
        return {_mm512_castsi512_ps(_mm512_slli_epi32(v, 16)),
                _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
    }
    static pair whole(const element *x) noexcept { return widen(_mm512_loadu_si512(x)); }
    static pair masked(const element *x, __mmask32 mask) noexcept { return widen(_mm512_maskz_loadu_epi16(mask, x)); }
};

struct load_f16 {
    using element = uint16_t;
    static constexpr bool interleaved = false;
    static pair widen(__m512i v) noexcept {
        return {_mm512_cvtph_ps(_mm512_castsi512_si256(v)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1))};
    }
    static pair whole(const element *x) noexcept { return widen(_mm512_loadu_si512(x)); }
    static pair masked(const element *x, __mmask32 mask) noexcept { return widen(_mm512_maskz_loadu_epi16(mask, x)); }
};

// Stores of the lanes in `mask` of 32 sums in the order of memory.
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
        __m512i h;
        if constexpr (interleaved) {  // each half as 16 words; the odd ones move up
            const __m256i even = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v.first));
            const __m256i odd = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v.second));
            h = _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
        } else {
            h = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(v.second, v.first));
        }
        _mm512_mask_storeu_epi16(s, mask, h);
    }
};
#endif

// x[(first + lane) mod block_k] for 32 lanes, zero where that is `exist` or more. What wraps is loaded in parts by
// masked loads: no shuffle, any rotation. A block of 16 fills the low lanes only.
template <class X, size_t block_k>
inline pair load_rotated(const typename X::element *x, size_t first, size_t exist) noexcept {
    if (block_k >= 32 && first + 32 <= block_k && first + 32 <= exist) return X::whole(x + first);
    constexpr size_t lanes = block_k < 32 ? block_k : 32;
    const size_t end = block_k - first;  // lanes before the wrap
    pair front = X::masked(x + first, first < exist ? below(exist - first) & below(end) & below(lanes) : 0);
    if (end >= lanes) return front;
    const pair back = X::masked(x - end, below(end + exist) & ~below(end) & below(lanes));
    return {_mm512_or_ps(front.first, back.first), _mm512_or_ps(front.second, back.second)};
}

// One group of one sketch. `exist` columns are left of x from the group's first block on.
template <class X, class S, size_t block_k>
inline void group(const typename X::element *x, typename S::element *s, const sketch_entry *entries, size_t c,
                  size_t exist) noexcept {
    constexpr size_t pairs = block_k < 32 ? 1 : block_k / 32;
    pair sum[pairs];
#pragma GCC unroll 8
    for (size_t v = 0; v < pairs; v++) sum[v] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t q = 0; q < c && exist > 0; q++) {
        const size_t rotation = entries[q].rotation, here = exist < block_k ? exist : block_k;
        const __m512 sign = _mm512_set1_ps(entries[q].negative ? -1.0f : 1.0f);  // a product with it is exact
#pragma GCC unroll 8
        for (size_t v = 0; v < pairs; v++) {
            const pair t = load_rotated<X, block_k>(x, (32 * v + rotation) % block_k, here);
            sum[v] = {_mm512_fmadd_ps(sign, t.first, sum[v].first), _mm512_fmadd_ps(sign, t.second, sum[v].second)};
        }
        x += here;
        exist -= here;
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < pairs; v++)
        S::template run<X::interleaved>(s + 32 * v, sum[v], block_k < 32 ? __mmask32{0xffff} : ~__mmask32{0});
}

constexpr size_t widest_group = 4096;  // floats of a widened group with its copies: 16 KB of L1

// The blocks of one group, widened, each twice in a row.
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

template <class X, class S, size_t block_k>
void sketch_rows(const sketch_args &args) noexcept {
    alignas(64) float wide[widest_group];
    const size_t columns = args.c * block_k, entries = args.groups * args.c;
    const bool share = args.sketches > 1 && 2 * columns <= widest_group;
    for (size_t i = 0; i < args.m; i++) {
        const auto *x = static_cast<const typename X::element *>(args.x) + i * args.ldx;
        auto *s = static_cast<typename S::element *>(args.s) + i * args.lds;
        for (size_t g = 0; g < args.groups; g++) {
            const size_t exist = args.k - g * columns;
            if (share) widen<X, block_k>(x + g * columns, wide, args.c, exist);
            for (size_t j = 0; j < args.sketches; j++) {
                auto *to = s + j * args.sketch_stride + g * block_k;
                const sketch_entry *entry = args.entries + j * entries + g * args.c;
                if (share) {
                    group_of_wide<S, block_k>(wide, to, entry, args.c);
                } else {
                    group<X, S, block_k>(x + g * columns, to, entry, args.c, exist);
                }
            }
        }
    }
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
