// SPDX-License-Identifier: Apache-2.0
// Layer normalization through Highway: computes t = x + r, its mean, its variance around the mean, then the scaled row.
// Four rows are taken together: one alone waits for the latency of its sums.
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

template <size_t rows>
HWY_INLINE void norm_rows(const norm_args &args, size_t first) {
    const size_t n = args.n;
    const float *x = args.x + first * n, *r = args.r ? args.r + first * n : nullptr;
    const float size = static_cast<float>(n);
    float *y = args.y + first * n;
    const auto t_at = [=](size_t i, size_t j) HWY_ATTR { return sum_at(x + i * n, r ? r + i * n : nullptr, j, n); };
    vec sum[rows], shift[rows], scale[rows];
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++) sum[i] = hn::Zero(d);
    for (size_t j = 0; j < n; j += lanes)
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) sum[i] = hn::Add(sum[i], t_at(i, j));
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++) {
        shift[i] = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum[i])) / size);
        sum[i] = hn::Zero(d);
    }
    for (size_t j = 0; j < n; j += lanes)
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            vec t = hn::Sub(t_at(i, j), shift[i]);
            if (j + lanes > n) t = hn::IfThenElseZero(hn::FirstN(d, n - j), t);
            sum[i] = hn::MulAdd(t, t, sum[i]);
        }
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++) {
        const float variance = hn::GetLane(hn::SumOfLanes(d, sum[i])) / size;
        // Square root and division round correctly; the estimate instructions do not.
        scale[i] = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Set(d, variance + args.eps)));
    }
    for (size_t j = 0; j < n; j += lanes) {
        const vec gamma = load_at(args.gamma, j, n), beta = load_at(args.beta, j, n);
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            const vec t = hn::Mul(hn::Sub(t_at(i, j), shift[i]), scale[i]);
            store_at(hn::MulAdd(t, gamma, beta), y + i * n, j, n);
        }
    }
}

HWY_NOINLINE void norm(const norm_args &args) {
    size_t i = 0;
    for (; i + 4 <= args.m; i += 4) norm_rows<4>(args, i);
    for (; i < args.m; i++) norm_rows<1>(args, i);
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
