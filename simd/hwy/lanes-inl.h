// SPDX-License-Identifier: Apache-2.0
// Partial vectors that touch only the lanes that exist. Included once per Highway target.
#if defined(SS1_HWY_LANES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SS1_HWY_LANES_INL_H
#undef SS1_HWY_LANES_INL_H
#else
#define SS1_HWY_LANES_INL_H
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using floats = hn::ScalableTag<float>;
using vec = hn::Vec<floats>;
constexpr floats d;
using words = hn::RebindToUnsigned<floats>;  // the bits of floats
constexpr size_t lanes = hn::MaxLanes(d);

// p[0..count), the other lanes 0. Where MaskedLoad is emulated (SSE4, NEON) it reads the whole vector, so go through
// memory.
HWY_INLINE vec load_first(const float *p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN float copy[lanes] = {};
    for (size_t i = 0; i < count; i++) copy[i] = p[i];
    return hn::Load(d, copy);
#else
    return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#endif
}

HWY_INLINE void store_first(vec v, float *p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN float copy[lanes];
    hn::Store(v, d, copy);
    for (size_t i = 0; i < count; i++) p[i] = copy[i];
#else
    hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#endif
}

// The vector at column j of a row of n columns; the last one may be partial.
HWY_INLINE vec load_at(const float *p, size_t j, size_t n) {
    return HWY_LIKELY(j + lanes <= n) ? hn::LoadU(d, p + j) : load_first(p + j, n - j);
}

HWY_INLINE void store_at(vec v, float *p, size_t j, size_t n) {
    if (HWY_LIKELY(j + lanes <= n)) {
        hn::StoreU(v, d, p + j);
    } else {
        store_first(v, p + j, n - j);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace ss1
HWY_AFTER_NAMESPACE();
#endif
