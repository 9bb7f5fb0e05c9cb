// SPDX-License-Identifier: Apache-2.0
// Converts bf16 and f16, as their 16 bits, in scalar code. Files with ISA flags must not include it: these inline
// functions must not be compiled with such flags (tests/weak_symbols.sh).
#pragma once
#include <bit>
#include <cstdint>

namespace ss1 {

inline float bf16_to_f32(uint16_t h) noexcept {
    return std::bit_cast<float>(uint32_t{h} << 16);
}

// Rounds to nearest even; NaN stays NaN (made quiet).
inline uint16_t bf16_from_f32(float x) noexcept {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

inline float f16_to_f32(uint16_t h) noexcept {
    const uint32_t sign = uint32_t{h & 0x8000u} << 16, magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude >= 0x400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
    const float value = static_cast<float>(magnitude) * 0x1p-24f;  // denormal or zero: exact
    return sign ? -value : value;
}

// Rounds to nearest even; values that round beyond 65504 become infinity, NaN stays NaN (made quiet).
inline uint16_t f16_from_f32(float x) noexcept {
    const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu;
    const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // from 65520 on
    if (magnitude < 0x38800000u) {  // below 2^-14: steps of 2^-24, as those of floats at 0.5
        const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3f000000u));
    }
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13));
}

}  // namespace ss1
