// SPDX-License-Identifier: Apache-2.0
// Loads and stores the vector at column j of a row of n columns; the last vector may be partial, and only its existing
// columns are touched. xsimd 8 has no masked load: a partial vector is copied through memory. V is an
// xsimd::batch<float, Arch>, so that the arch is in the name of every instance; the anonymous namespace also hides
// instances from other objects.
#pragma once
#include <xsimd/xsimd.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ss1 {
namespace {

template <class V>
inline V load_at(const float *p, size_t j, size_t n, float other) {
    if (j + V::size <= n) return V::load_unaligned(p + j);
    alignas(V) float copy[V::size];
    for (size_t i = 0; i < V::size; i++) copy[i] = j + i < n ? p[j + i] : other;
    return V::load_aligned(copy);
}

template <class V>
inline void store_at(V v, float *p, size_t j, size_t n) {
    if (j + V::size <= n) return v.store_unaligned(p + j);
    alignas(V) float copy[V::size];
    v.store_aligned(copy);
    for (size_t i = 0; j + i < n; i++) p[j + i] = copy[i];
}

// a * b + c, rounded once if the hardware can. On AVX-512 xsimd 8.1 would multiply, then add.
template <class V>
inline V mul_add(V a, V b, V c) {
#ifdef __AVX512F__
    if constexpr (std::is_same_v<typename V::arch_type, xsimd::avx512bw>)
        return _mm512_fmadd_ps(a, b, c);
    else
#endif
        return xsimd::fma(a, b, c);
}

}  // namespace
}  // namespace ss1
