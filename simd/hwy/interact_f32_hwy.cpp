// SPDX-License-Identifier: Apache-2.0
// Dot products of all pairs of feature vectors through Highway: one vector against four at a time.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/interact_f32_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// z[v] = <t, others + v*n> for v < count.
template <size_t count>
HWY_INLINE void dots(const float *t, const float *others, size_t n, float *z) {
    vec sum[count];
#pragma GCC unroll 4
    for (size_t v = 0; v < count; v++) sum[v] = hn::Zero(d);
    for (size_t k = 0; k < n; k += lanes) {
        const vec a = load_at(t, k, n);
#pragma GCC unroll 4
        for (size_t v = 0; v < count; v++) sum[v] = hn::MulAdd(a, load_at(others + v * n, k, n), sum[v]);
    }
#pragma GCC unroll 4
    for (size_t v = 0; v < count; v++) z[v] = hn::GetLane(hn::SumOfLanes(d, sum[v]));
}

HWY_NOINLINE void interact(const interact_args &args) {
    for (size_t b = 0; b < args.batch; b++) {
        const float *t = args.t + b * args.ldt;
        float *z = args.z + b * args.ldz;
        for (size_t i = 0; i < args.f; i++) {
            const size_t pairs = i + args.itself;
            size_t j = 0;
            for (; j + 4 <= pairs; j += 4) dots<4>(t + i * args.d, t + j * args.d, args.d, z + j);
            for (; j < pairs; j++) dots<1>(t + i * args.d, t + j * args.d, args.d, z + j);
            z += pairs;
        }
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void interact_f32_hwy_avx512(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#elif HWY_TARGET == HWY_AVX2
void interact_f32_hwy_avx2(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#elif HWY_TARGET == HWY_SSE4
void interact_f32_hwy_sse4(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#elif HWY_TARGET == HWY_NEON
void interact_f32_hwy_neon(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
