// SPDX-License-Identifier: Apache-2.0
// The elementwise step of a cross layer through Highway. It reads three rows and writes one: memory bounds it.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/cross_f32_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

HWY_NOINLINE void cross(const cross_args &args) {
    for (size_t i = 0; i < args.m; i++) {
        const float *x0 = args.x0 + i * args.ldx0, *x = args.x + i * args.ldx;
        float *y = args.y + i * args.ldy;
        for (size_t j = 0; j < args.n; j += lanes)
            store_at(hn::MulAdd(load_at(x0, j, args.n), load_at(y, j, args.n), load_at(x, j, args.n)), y, j, args.n);
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void cross_f32_hwy_avx512(const cross_args &args) noexcept {
    HWY_NAMESPACE::cross(args);
}
#elif HWY_TARGET == HWY_AVX2
void cross_f32_hwy_avx2(const cross_args &args) noexcept {
    HWY_NAMESPACE::cross(args);
}
#elif HWY_TARGET == HWY_SSE4
void cross_f32_hwy_sse4(const cross_args &args) noexcept {
    HWY_NAMESPACE::cross(args);
}
#elif HWY_TARGET == HWY_NEON
void cross_f32_hwy_neon(const cross_args &args) noexcept {
    HWY_NAMESPACE::cross(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
