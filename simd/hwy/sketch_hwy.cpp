// SPDX-License-Identifier: Apache-2.0
// Sketch through Highway, for every type of x and s. Sums stay in registers, and no path shuffles.
//
// One sketch with rotations by whole vectors, as the reference mapping has them: no vector of a rotated block wraps, so
// x is read in place, once, by one load and one FMA for a vector. Otherwise the blocks of a group are widened into L1,
// two copies of each in a row, so that a block under any rotation is contiguous. All sketches share the widened group.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/sketch_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

constexpr size_t widest_block = 256;
constexpr size_t widest_group = 4096;  // floats of widened blocks: 16 KB of L1

struct x_f32 {
    using element = float;
    static HWY_INLINE vec load(const float *x, size_t j, size_t n) { return read_at(x, j, n); }
};
struct x_bf16 {
    using element = uint16_t;
    static HWY_INLINE vec load(const uint16_t *x, size_t j, size_t n) { return read_at(x, j, n); }
};
struct x_f16 {
    using element = uint16_t;
    static HWY_INLINE vec load(const uint16_t *x, size_t j, size_t n) { return from_f16(load_at(x, j, n)); }
};

// Widens the blocks of one group and writes two copies of each. x has `exist` columns from the first block on.
template <class X>
HWY_INLINE void widen(const typename X::element *x, float *wide, size_t count, size_t block_k, size_t exist) {
    for (size_t q = 0; q < count; q++, wide += 2 * block_k) {
        for (size_t u = 0; u < block_k; u += lanes) {
            const size_t column = q * block_k + u;
            const vec v = column < exist ? X::load(x, column, exist) : hn::Zero(d);
            hn::Store(v, d, wide + u);
            hn::Store(v, d, wide + block_k + u);
        }
    }
}

// The blocks of a group: block q begins at x + q * stride, its rotated column u is at (u + rotation) & wrap. x has
// `exist` columns from the first block on.
template <class X>
struct blocks_of_x {
    const typename X::element *x;
    const sketch_entry *entries;
    size_t count, stride, wrap, exist;
};

// Adds the columns from u on to sums[0..vectors*lanes), or sets these if `fresh`.
template <size_t vectors, class X, class T>
HWY_INLINE void add_blocks(const blocks_of_x<X> &b, T *sums, size_t u, bool fresh) {
    vec sum[vectors];
#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v++) sum[v] = fresh ? hn::Zero(d) : read_at(sums, v * lanes, SIZE_MAX);
    const typename X::element *x = b.x;
    for (size_t q = 0, exist = b.exist; q < b.count; q++, x += b.stride, exist -= b.stride) {
        const vec sign = hn::Set(d, b.entries[q].negative ? -1.0f : 1.0f);  // a product with it is exact
        const size_t first = u + b.entries[q].rotation;
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) {
            const size_t column = (first + v * lanes) & b.wrap;
            const vec value = HWY_LIKELY(exist >= b.stride) ? X::load(x, column, SIZE_MAX)
                              : column < exist              ? X::load(x, column, exist)
                                                            : hn::Zero(d);
            sum[v] = hn::MulAdd(sign, value, sum[v]);
        }
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v++) write_at(sum[v], sums, v * lanes, SIZE_MAX);
}

template <class X, class T>
HWY_INLINE void add_group(const blocks_of_x<X> &b, T *sums, size_t block_k, bool fresh) {
    constexpr size_t strip = 8 * lanes;
    if (block_k >= strip) {
        for (size_t u = 0; u < block_k; u += strip) add_blocks<8>(b, sums + u, u, fresh);
    } else if (block_k >= strip / 2) {
        add_blocks<4>(b, sums, 0, fresh);
    } else {
        add_blocks<2>(b, sums, 0, fresh);
    }
}

HWY_INLINE bool by_whole_vectors(const sketch_args &args) {
    unsigned rotations = 0;
    for (size_t i = 0; i < args.groups * args.c; i++) rotations |= args.entries[i].rotation;
    return args.sketches == 1 && rotations % lanes == 0;
}

// Converts a block without rotation and sign, directly.
template <class X, class T>
HWY_INLINE void convert(const typename X::element *x, T *s, size_t block_k, size_t exist) {
    const vec zero = hn::Zero(d);
    for (size_t u = 0; u < block_k; u += lanes)
        write_at(u < exist ? hn::Add(zero, X::load(x, u, exist)) : zero, s, u, block_k);
}

template <class X, class T>
HWY_NOINLINE void sketch(const sketch_args &args) {
    HWY_ALIGN float wide[widest_group];
    HWY_ALIGN float unrounded[widest_block];
    const size_t block_k = args.block_k, c = args.c;
    const size_t at_once = widest_group / (2 * block_k);  // blocks of a group
    const bool in_place = by_whole_vectors(args);
    for (size_t i = 0; i < args.m; i++) {
        const auto *x = static_cast<const typename X::element *>(args.x) + i * args.ldx;
        for (size_t g = 0, exist = args.k; g < args.groups; g++, x += c * block_k, exist -= c * block_k) {
            const size_t blocks = HWY_MIN(c, (exist + block_k - 1) / block_k);
            bool is_wide = false;
            for (size_t j = 0; j < args.sketches; j++) {
                T *s = static_cast<T *>(args.s) + j * args.sketch_stride + i * args.lds + g * block_k;
                const sketch_entry *entries = args.entries + (j * args.groups + g) * c;
                if (c == 1 && entries->rotation == 0 && !entries->negative) {
                    convert<X>(x, s, block_k, exist);
                    continue;
                }
                if (in_place) {
                    add_group(blocks_of_x<X>{x, entries, blocks, block_k, block_k - 1, exist}, s, block_k, true);
                    continue;
                }
                float *sums = unrounded;
                if constexpr (sizeof(T) == sizeof(float)) sums = s;
                for (size_t q = 0; q < blocks; q += at_once) {
                    const size_t count = HWY_MIN(at_once, blocks - q);
                    if (!is_wide || blocks > at_once)
                        widen<X>(x + q * block_k, wide, count, block_k, exist - q * block_k);
                    is_wide = true;
                    add_group(blocks_of_x<x_f32>{wide, entries + q, count, 2 * block_k, SIZE_MAX, SIZE_MAX}, sums,
                              block_k, q == 0);
                }
                if constexpr (sizeof(T) != sizeof(float))
                    for (size_t u = 0; u < block_k; u += lanes) write_at(hn::Load(d, sums + u), s, u, block_k);
            }
        }
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX2
void sketch_f32_f32_hwy_avx2(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f32, float>(args);
}
void sketch_bf16_f32_hwy_avx2(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_bf16, float>(args);
}
void sketch_f16_f32_hwy_avx2(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f16, float>(args);
}
#elif HWY_TARGET == HWY_SSE4
void sketch_f32_f32_hwy_sse4(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f32, float>(args);
}
void sketch_bf16_f32_hwy_sse4(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_bf16, float>(args);
}
void sketch_f16_f32_hwy_sse4(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f16, float>(args);
}
#elif HWY_TARGET == HWY_NEON
void sketch_f32_f32_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f32, float>(args);
}
void sketch_bf16_f32_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_bf16, float>(args);
}
void sketch_f16_f32_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f16, float>(args);
}
void sketch_f32_bf16_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f32, uint16_t>(args);
}
void sketch_bf16_bf16_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_bf16, uint16_t>(args);
}
void sketch_f16_bf16_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch<HWY_NAMESPACE::x_f16, uint16_t>(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
