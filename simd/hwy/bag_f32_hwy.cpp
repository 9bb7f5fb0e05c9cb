// SPDX-License-Identifier: Apache-2.0
// Embedding bags through Highway: the sums of up to 8 vectors of columns in registers, coming rows prefetched.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/bag_f32_hwy.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// Rows of the table lie anywhere in memory: their lines are asked for this many indices ahead, across bags.
constexpr int64_t ahead = 8;

// Columns j .. j + vectors*lanes - 1 of all bags.
template <size_t vectors>
HWY_INLINE void columns(const bag_args &args, size_t j) {
    const int64_t end = args.offsets[args.batch];
    for (size_t b = 0; b < args.batch; b++) {
        vec sum[vectors];
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) sum[v] = hn::Zero(d);
        for (int64_t p = args.offsets[b]; p < args.offsets[b + 1]; p++) {
            if (p + ahead < end) {
                const float *coming = args.table + static_cast<size_t>(args.indices[p + ahead]) * args.d + j;
                constexpr size_t line = 64 / sizeof(float);
                for (size_t l = 0; l < vectors * lanes; l += line) hwy::Prefetch(coming + l);
            }
            const float *row = args.table + static_cast<size_t>(args.indices[p]) * args.d;
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++) sum[v] = hn::Add(sum[v], load_at(row, j + v * lanes, args.d));
        }
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) store_at(sum[v], args.y + b * args.ldy, j + v * lanes, args.d);
    }
}

HWY_NOINLINE void bag(const bag_args &args) {
    constexpr size_t most = 8;
    size_t j = 0;
    for (; j + most * lanes <= args.d; j += most * lanes) columns<most>(args, j);
    for (; j < args.d; j += lanes) columns<1>(args, j);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void bag_f32_hwy_avx512(const bag_args &args) noexcept {
    HWY_NAMESPACE::bag(args);
}
#elif HWY_TARGET == HWY_AVX2
void bag_f32_hwy_avx2(const bag_args &args) noexcept {
    HWY_NAMESPACE::bag(args);
}
#elif HWY_TARGET == HWY_SSE4
void bag_f32_hwy_sse4(const bag_args &args) noexcept {
    HWY_NAMESPACE::bag(args);
}
#elif HWY_TARGET == HWY_NEON
void bag_f32_hwy_neon(const bag_args &args) noexcept {
    HWY_NAMESPACE::bag(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
