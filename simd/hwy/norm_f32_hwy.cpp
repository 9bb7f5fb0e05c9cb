// SPDX-License-Identifier: Apache-2.0
// Layer normalization through Highway: computes t = x + r, its mean, its variance around the mean, then the scaled row.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/norm_f32_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// Returns t = x + r at column j.
HWY_INLINE vec sum_at(const float *x, const float *r, size_t j, size_t n) {
    const vec t = load_at(x, j, n);
    return r ? hn::Add(t, load_at(r, j, n)) : t;
}

HWY_INLINE float mean(const float *x, const float *r, size_t n) {
    vec sum = hn::Zero(d);
    for (size_t j = 0; j < n; j += lanes) sum = hn::Add(sum, sum_at(x, r, j, n));
    return hn::GetLane(hn::SumOfLanes(d, sum)) / static_cast<float>(n);
}

HWY_INLINE float variance(const float *x, const float *r, size_t n, float mean) {
    const vec center = hn::Set(d, mean);
    vec sum = hn::Zero(d);
    for (size_t j = 0; j < n; j += lanes) {
        vec t = hn::Sub(sum_at(x, r, j, n), center);
        if (j + lanes > n) t = hn::IfThenElseZero(hn::FirstN(d, n - j), t);
        sum = hn::MulAdd(t, t, sum);
    }
    return hn::GetLane(hn::SumOfLanes(d, sum)) / static_cast<float>(n);
}

HWY_NOINLINE void norm(const norm_args &args) {
    const size_t n = args.n;
    for (size_t i = 0; i < args.m; i++) {
        const float *x = args.x + i * n, *r = args.r ? args.r + i * n : nullptr;
        float *y = args.y + i * n;
        const float center = mean(x, r, n);
        const vec shift = hn::Set(d, center);
        // Square root and division round correctly; the estimate instructions do not.
        const vec scale = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Set(d, variance(x, r, n, center) + args.eps)));
        for (size_t j = 0; j < n; j += lanes) {
            const vec t = hn::Mul(hn::Sub(sum_at(x, r, j, n), shift), scale);
            store_at(hn::MulAdd(t, load_at(args.gamma, j, n), load_at(args.beta, j, n)), y, j, n);
        }
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void norm_f32_hwy_avx512(const norm_args &args) noexcept {
    HWY_NAMESPACE::norm(args);
}
#elif HWY_TARGET == HWY_AVX2
void norm_f32_hwy_avx2(const norm_args &args) noexcept {
    HWY_NAMESPACE::norm(args);
}
#elif HWY_TARGET == HWY_SSE4
void norm_f32_hwy_sse4(const norm_args &args) noexcept {
    HWY_NAMESPACE::norm(args);
}
#elif HWY_TARGET == HWY_NEON
void norm_f32_hwy_neon(const norm_args &args) noexcept {
    HWY_NAMESPACE::norm(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
