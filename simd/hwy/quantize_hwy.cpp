// SPDX-License-Identifier: Apache-2.0
// Quantize through Highway: finds the largest magnitude of a row; then a value takes one multiplication and one
// addition that rounds, and the low byte of the sum is the result. Bit for bit the result of the reference.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/quantize_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

// Returns the largest magnitude, NaN if there is one: as integers, the bits of magnitudes have the same order, NaN
// last.
template <class T>
HWY_INLINE float max_magnitude(const T *s, size_t n) {
    const hn::RebindToSigned<floats> di;
    const auto magnitudes = [&](size_t j) HWY_ATTR { return hn::BitCast(di, hn::Abs(read_at(s, j, n))); };
    auto even = hn::Zero(di), odd = even;
    size_t j = 0;
    for (; j + 2 * lanes <= n; j += 2 * lanes) {
        even = hn::Max(even, magnitudes(j));
        odd = hn::Max(odd, magnitudes(j + lanes));
    }
    for (; j < n; j += lanes) even = hn::Max(even, magnitudes(j));
    return hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(di, hn::Max(even, odd))));
}

template <class T>
HWY_NOINLINE void quantize(const quantize_args &args) {
    const hn::Rebind<uint8_t, floats> dq;
    // Floats of this size are 1 apart: the addition rounds to an integer, to nearest even, which is in the low bits.
    const vec offset = hn::Set(d, 0x1.8p23f + static_cast<float>(args.zero));
    for (size_t i = 0; i < args.m; i++) {
        const T *s = static_cast<const T *>(args.s) + i * args.lds;
        uint8_t *q = static_cast<uint8_t *>(args.q) + i * args.ldq;
        const float max = max_magnitude(s, args.n), inverse = 127.0f / max, most = hwy::HighestValue<float>();
        args.scale[i] = max / 127.0f;
        // 127/max overflows for a denormal max: such a row counts as zero, and so does a row without a finite maximum.
        if (!(max > 0.0f && max <= most && inverse <= most)) {
            for (size_t j = 0; j < args.n; j++) q[j] = args.zero;
            continue;
        }
        const vec by = hn::Set(d, inverse);
        const auto quantized = [&](vec v) HWY_ATTR {
            return hn::TruncateTo(dq, hn::BitCast(words(), hn::Add(hn::Mul(v, by), offset)));
        };
        size_t j = 0;
        for (; j + lanes <= args.n; j += lanes) hn::StoreU(quantized(read_at(s, j, args.n)), dq, q + j);
        if (j == args.n) continue;
        HWY_ALIGN uint8_t last[lanes];
        hn::Store(quantized(read_at(s, j, args.n)), dq, last);
        for (size_t u = 0; j + u < args.n; u++) q[j + u] = last[u];
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX2
void quantize_f32_hwy_avx2(const quantize_args &args) noexcept {
    HWY_NAMESPACE::quantize<float>(args);
}
void quantize_bf16_hwy_avx2(const quantize_args &args) noexcept {
    HWY_NAMESPACE::quantize<uint16_t>(args);
}
#elif HWY_TARGET == HWY_SSE4
void quantize_f32_hwy_sse4(const quantize_args &args) noexcept {
    HWY_NAMESPACE::quantize<float>(args);
}
void quantize_bf16_hwy_sse4(const quantize_args &args) noexcept {
    HWY_NAMESPACE::quantize<uint16_t>(args);
}
#elif HWY_TARGET == HWY_NEON
void quantize_f32_hwy_neon(const quantize_args &args) noexcept {
    HWY_NAMESPACE::quantize<float>(args);
}
void quantize_bf16_hwy_neon(const quantize_args &args) noexcept {
    HWY_NAMESPACE::quantize<uint16_t>(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
