// SPDX-License-Identifier: Apache-2.0
// f32 sketch on AVX-512: the sums of one group stay in B_K/16 registers while its c blocks of x stream by. Rows are the
// outer loop, so x is read from front to back; the entries of all groups stay in L1.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

// A mask of the lanes below `count`.
inline __mmask16 below(size_t count) noexcept {
    return static_cast<__mmask16>(count < 16 ? (1u << count) - 1 : 0xffffu);
}

// x[(first + lane) mod block_k], zero where that is `exist` or more. A vector that wraps is loaded in two parts by
// masked loads, which do not touch the other lanes: no shuffle, any rotation.
template <size_t block_k>
inline __m512 load_rotated(const float *x, size_t first, size_t exist) noexcept {
    if (first + 16 <= block_k && first + 16 <= exist) return _mm512_loadu_ps(x + first);
    const size_t end = block_k - first;  // lanes before the wrap
    const __m512 front =
        _mm512_maskz_loadu_ps(first < exist ? below(exist - first) & below(end) : __mmask16{0}, x + first);
    return _mm512_mask_loadu_ps(front, below(end + exist) & ~below(end), x - end);
}

// One group: s = sum over its c blocks. `exist` columns are left of x from the group's first block on.
template <size_t block_k>
inline void group(const float *x, float *s, const sketch_entry *entries, size_t c, size_t exist) noexcept {
    constexpr size_t vectors = block_k / 16;
    __m512 sum[vectors];
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++) sum[v] = _mm512_setzero_ps();
    for (size_t q = 0; q < c && exist > 0; q++) {
        const size_t rotation = entries[q].rotation, here = exist < block_k ? exist : block_k;
        const __m512 sign = _mm512_set1_ps(entries[q].negative ? -1.0f : 1.0f);  // a product with it is exact
#pragma GCC unroll 16
        for (size_t v = 0; v < vectors; v++) {
            const __m512 t = load_rotated<block_k>(x, (16 * v + rotation) % block_k, here);
            sum[v] = _mm512_fmadd_ps(sign, t, sum[v]);
        }
        x += here;
        exist -= here;
    }
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++) _mm512_storeu_ps(s + 16 * v, sum[v]);
}

template <size_t block_k>
void sketch(const sketch_args &args) noexcept {
    const size_t columns = args.c * block_k;
    for (size_t i = 0; i < args.m; i++) {
        const float *x = args.x + i * args.ldx;
        float *s = args.s + i * args.lds;
        for (size_t g = 0; g < args.groups; g++)
            group<block_k>(x + g * columns, s + g * block_k, args.entries + g * args.c, args.c, args.k - g * columns);
    }
}

}  // namespace

void sketch_f32_avx512(const sketch_args &args) noexcept {
    switch (args.block_k) {
        case 16:
            return sketch<16>(args);
        case 32:
            return sketch<32>(args);
        case 64:
            return sketch<64>(args);
        case 128:
            return sketch<128>(args);
        case 256:
            return sketch<256>(args);
        default:
            return;  // no other B_K is valid
    }
}

}  // namespace ss1
