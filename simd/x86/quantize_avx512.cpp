// SPDX-License-Identifier: Apache-2.0
// Quantize on AVX-512: reads a row twice, first for its largest magnitude, then, from L1, to convert 64 values at a
// time. Magnitudes are compared as integers, which have the same order, NaN above infinity.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

constexpr float largest = 0x1.fffffep127f;

// Masks the lanes below `count`.
inline __mmask16 below(size_t count) noexcept {
    return static_cast<__mmask16>(count < 16 ? (1u << count) - 1 : 0xffffu);
}

inline float from_bits(uint32_t bits) noexcept {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

inline float widened(float x) noexcept {
    return x;
}
inline float widened(uint16_t x) noexcept {
    return from_bits(uint32_t{x} << 16);
}

inline __m512 load(const float *s) noexcept {
    return _mm512_loadu_ps(s);
}
inline __m512 load(const float *s, __mmask16 mask) noexcept {
    return _mm512_maskz_loadu_ps(mask, s);
}
inline __m512 widened(__m256i v) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
inline __m512 load(const uint16_t *s) noexcept {
    return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(s)));
}
inline __m512 load(const uint16_t *s, __mmask16 mask) noexcept {
    return widened(_mm256_maskz_loadu_epi16(mask, s));
}

// Returns the largest magnitude.
float largest_of(const float *s, size_t n) noexcept {
    const __m512i no_sign = _mm512_set1_epi32(0x7fffffff);
    __m512i max[4] = {};
    size_t j = 0;
    for (; j + 64 <= n; j += 64)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++)
            max[v] = _mm512_max_epi32(max[v], _mm512_and_si512(no_sign, _mm512_loadu_si512(s + j + 16 * v)));
    for (; j < n; j += 16)
        max[0] = _mm512_max_epi32(max[0], _mm512_and_si512(no_sign, _mm512_maskz_loadu_epi32(below(n - j), s + j)));
    return from_bits(static_cast<uint32_t>(
        _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_max_epi32(max[0], max[1]), _mm512_max_epi32(max[2], max[3])))));
}
float largest_of(const uint16_t *s, size_t n) noexcept {
    const __m512i no_sign = _mm512_set1_epi16(0x7fff);
    __m512i max[2] = {};
    size_t j = 0;
    for (; j + 64 <= n; j += 64)
#pragma GCC unroll 2
        for (size_t v = 0; v < 2; v++)
            max[v] = _mm512_max_epu16(max[v], _mm512_and_si512(no_sign, _mm512_loadu_si512(s + j + 32 * v)));
    for (; j < n; j += 32) {
        const __mmask32 mask = n - j < 32 ? (__mmask32{1} << (n - j)) - 1 : ~__mmask32{0};
        max[0] = _mm512_max_epu16(max[0], _mm512_and_si512(no_sign, _mm512_maskz_loadu_epi16(mask, s + j)));
    }
    const __m512i both = _mm512_max_epu16(max[0], max[1]), even = _mm512_and_si512(both, _mm512_set1_epi32(0xffff));
    const int most = _mm512_reduce_max_epi32(_mm512_max_epi32(even, _mm512_srli_epi32(both, 16)));
    return from_bits(static_cast<uint32_t>(most) << 16);
}

// Returns the largest magnitude, or that of the first NaN.
template <class T>
float max_magnitude(const T *s, size_t n) noexcept {
    const float value = largest_of(s, n);
    if (value == value) return value;
    size_t j = 0;
    while (widened(s[j]) == widened(s[j])) j++;
    return __builtin_fabsf(widened(s[j]));
}

inline __m512i rounded(__m512 s, __m512 inverse) noexcept {
    return _mm512_maskz_cvtps_epi32(0xffff, _mm512_mul_ps(s, inverse));
}

template <class T>
void quantize_row(const T *s, uint8_t *q, size_t n, __m512 inverse, uint8_t zero) noexcept {
    const __m512i zeros = _mm512_set1_epi8(static_cast<char>(zero));
    // Packing works in lanes of 128 bits and puts dword i of lane l in the place of dword l of lane i.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    size_t j = 0;
    for (; j + 64 <= n; j += 64) {
        __m512i v[4];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) v[i] = rounded(load(s + j + 16 * i), inverse);
        const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
        const __m512i sorted = _mm512_maskz_permutexvar_epi32(0xffff, order, bytes);
        _mm512_storeu_si512(q + j, _mm512_add_epi8(sorted, zeros));
    }
    for (; j < n; j += 16) {
        const __mmask16 mask = below(n - j);
        const __m512i v = rounded(load(s + j, mask), inverse);
        _mm_mask_storeu_epi8(q + j, mask, _mm_add_epi8(_mm512_cvtepi32_epi8(v), _mm512_castsi512_si128(zeros)));
    }
}

template <class T>
void quantize(const quantize_args &args) noexcept {
    for (size_t i = 0; i < args.m; i++) {
        const T *s = static_cast<const T *>(args.s) + i * args.lds;
        uint8_t *q = static_cast<uint8_t *>(args.q) + i * args.ldq;
        const float max = max_magnitude(s, args.n), inverse = 127.0f / max;
        args.scale[i] = max / 127.0f;
        // 127/max overflows for a denormal max: such a row counts as zero, and so does a row without a finite maximum.
        if (max > 0.0f && max <= largest && inverse <= largest) {
            quantize_row(s, q, args.n, _mm512_set1_ps(inverse), args.zero);
        } else {
            __builtin_memset(q, args.zero, args.n);
        }
    }
}

}  // namespace

void quantize_f32_avx512(const quantize_args &args) noexcept {
    quantize<float>(args);
}
void quantize_bf16_avx512(const quantize_args &args) noexcept {
    quantize<uint16_t>(args);
}

}  // namespace ss1
