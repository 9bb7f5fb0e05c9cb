// SPDX-License-Identifier: Apache-2.0
// Store through Highway: adds the residual and rounds.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/store_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

template <class T>
HWY_NOINLINE void store(const store_args &args) {
    for (size_t i = 0; i < args.m; i++) {
        const float *c = args.c + i * args.ldc;
        const T *residual = args.residual ? static_cast<const T *>(args.residual) + i * args.ldr : nullptr;
        T *y = static_cast<T *>(args.y) + i * args.ldy;
        for (size_t j = 0; j < args.n; j += lanes) {
            const vec r = residual ? read_at(residual, j, args.n) : hn::Zero(d);
            write_at(hn::Add(load_at(c, j, args.n), r), y, j, args.n);
        }
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX2
void store_f32_hwy_avx2(const store_args &args) noexcept {
    HWY_NAMESPACE::store<float>(args);
}
void store_bf16_hwy_avx2(const store_args &args) noexcept {
    HWY_NAMESPACE::store<uint16_t>(args);
}
#elif HWY_TARGET == HWY_SSE4
void store_f32_hwy_sse4(const store_args &args) noexcept {
    HWY_NAMESPACE::store<float>(args);
}
void store_bf16_hwy_sse4(const store_args &args) noexcept {
    HWY_NAMESPACE::store<uint16_t>(args);
}
#elif HWY_TARGET == HWY_NEON
void store_f32_hwy_neon(const store_args &args) noexcept {
    HWY_NAMESPACE::store<float>(args);
}
void store_bf16_hwy_neon(const store_args &args) noexcept {
    HWY_NAMESPACE::store<uint16_t>(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
