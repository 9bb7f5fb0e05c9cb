// SPDX-License-Identifier: Apache-2.0
// Loads and stores of partial vectors, which touch only the lanes that exist. Included once per Highway target.
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

using halves = hn::Rebind<uint16_t, floats>;  // 16 bits for each lane

// Loads p[0..count); the other lanes are 0. An emulated MaskedLoad (SSE4, NEON) reads the whole vector, so copy
// instead.
HWY_INLINE vec load_first(const float *p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN float copy[lanes] = {};
    for (size_t i = 0; i < count; i++) copy[i] = p[i];
    return hn::Load(d, copy);
#else
    return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#endif
}

HWY_INLINE hn::Vec<halves> load_first(const uint16_t *p, size_t count) {
    HWY_ALIGN uint16_t copy[lanes] = {};
    for (size_t i = 0; i < count; i++) copy[i] = p[i];
    return hn::Load(halves(), copy);
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

HWY_INLINE void store_first(hn::Vec<halves> v, uint16_t *p, size_t count) {
    HWY_ALIGN uint16_t copy[lanes];
    hn::Store(v, halves(), copy);
    for (size_t i = 0; i < count; i++) p[i] = copy[i];
}

// Loads the vector at column j of a row of n columns; the last vector may be partial.
template <class T>
HWY_INLINE auto load_at(const T *p, size_t j, size_t n) {
    return HWY_LIKELY(j + lanes <= n) ? hn::LoadU(hn::Rebind<T, floats>(), p + j) : load_first(p + j, n - j);
}

template <class T>
HWY_INLINE void store_at(hn::Vec<hn::Rebind<T, floats>> v, T *p, size_t j, size_t n) {
    if (HWY_LIKELY(j + lanes <= n)) {
        hn::StoreU(v, hn::Rebind<T, floats>(), p + j);
    } else {
        store_first(v, p + j, n - j);
    }
}

// Rounds to nearest even; NaN stays NaN (made quiet).
HWY_INLINE hn::Vec<halves> to_bf16(vec v) {
    const words dw;
    const auto bits = hn::BitCast(dw, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(dw, 1));
    const vec rounded = hn::BitCast(d, hn::Add(hn::Add(bits, hn::Set(dw, 0x7fff)), odd));
    const vec quiet = hn::BitCast(d, hn::Or(bits, hn::Set(dw, 0x400000)));
    const vec either = hn::IfThenElse(hn::Eq(v, v), rounded, quiet);
    return hn::DemoteTo(halves(),
                        hn::BitCast(hn::RebindToSigned<floats>(), hn::ShiftRight<16>(hn::BitCast(dw, either))));
}

// load_at and store_at for rows of floats or bf16; the vectors are of floats.
HWY_INLINE vec read_at(const float *p, size_t j, size_t n) {
    return load_at(p, j, n);
}
HWY_INLINE vec read_at(const uint16_t *p, size_t j, size_t n) {
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(words(), load_at(p, j, n))));
}
HWY_INLINE void write_at(vec v, float *p, size_t j, size_t n) {
    store_at(v, p, j, n);
}
HWY_INLINE void write_at(vec v, uint16_t *p, size_t j, size_t n) {
    store_at(to_bf16(v), p, j, n);
}

HWY_INLINE vec from_f16(hn::Vec<halves> v) {
#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_SCALAR
    // Highway's emulation makes infinities and NaN finite. No step may produce a denormal float: kernels run in a mode
    // in which those are zero.
    const words dw;
    const hn::RebindToSigned<floats> di;
    const auto bits = hn::PromoteTo(dw, v);
    const auto magnitude = hn::And(bits, hn::Set(dw, 0x7fff)), bias = hn::Set(dw, 112u << 23);
    const auto normal = hn::Add(hn::ShiftLeft<13>(magnitude), bias);
    const vec small = hn::Mul(hn::ConvertTo(d, hn::BitCast(di, magnitude)), hn::Set(d, 0x1p-24f));
    const vec large = hn::IfThenElse(hn::Lt(hn::BitCast(d, normal), hn::Set(d, 65536.0f)), hn::BitCast(d, normal),
                                     hn::BitCast(d, hn::Add(normal, bias)));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(dw, 0x8000)));
    return hn::Or(hn::IfThenElse(hn::Lt(small, hn::Set(d, 0x1p-14f)), small, large), hn::BitCast(d, sign));
#else
    return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, floats>(), v));
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace ss1
HWY_AFTER_NAMESPACE();
#endif
