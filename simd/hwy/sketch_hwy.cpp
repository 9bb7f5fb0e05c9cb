// SPDX-License-Identifier: Apache-2.0
// Sketch through Highway: a rotated block is two runs, each added to the sums in L1; no shuffles, any rotation.
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

// s[0..n) += sign * x[0..n). A product with +-1 is exact, so an FMA and a multiply-add give the same bits.
HWY_INLINE void add_run(const float *x, float *s, size_t n, vec sign) {
    for (size_t j = 0; j < n; j += lanes) store_at(hn::MulAdd(sign, load_at(x, j, n), load_at(s, j, n)), s, j, n);
}

HWY_NOINLINE void sketch(const sketch_args &args) {
    const size_t block_k = args.block_k;
    const vec zero = hn::Zero(d), plus = hn::Set(d, 1.0f), minus = hn::Set(d, -1.0f);
    for (size_t i = 0; i < args.m; i++) {
        const float *row = static_cast<const float *>(args.x) + i * args.ldx;
        const sketch_entry *entry = args.entries;
        for (size_t j = 0; j < args.sketches; j++) {
            float *s = static_cast<float *>(args.s) + j * args.sketch_stride + i * args.lds;
            for (size_t g = 0; g < args.groups; g++, s += block_k) {
                for (size_t u = 0; u < block_k; u += lanes) hn::StoreU(zero, d, s + u);
                for (size_t q = 0; q < args.c; q++, entry++) {
                    const size_t first = (g * args.c + q) * block_k;
                    if (first >= args.k) continue;
                    const size_t rotation = entry->rotation, exist = HWY_MIN(block_k, args.k - first);
                    const vec sign = entry->negative ? minus : plus;
                    const float *x = row + first;
                    if (rotation < exist) add_run(x + rotation, s, exist - rotation, sign);
                    add_run(x, s + (block_k - rotation), HWY_MIN(rotation, exist), sign);
                }
            }
        }
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX2
void sketch_f32_f32_hwy_avx2(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch(args);
}
#elif HWY_TARGET == HWY_SSE4
void sketch_f32_f32_hwy_sse4(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch(args);
}
#elif HWY_TARGET == HWY_NEON
void sketch_f32_f32_hwy_neon(const sketch_args &args) noexcept {
    HWY_NAMESPACE::sketch(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
