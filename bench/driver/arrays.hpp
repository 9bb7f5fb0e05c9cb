// SPDX-License-Identifier: Apache-2.0
// Arrays aligned to cache lines, and the number formats of layers and peers.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <random>

namespace ss1::bench {

struct free_aligned {
    void operator()(void *p) const { ::operator delete[](p, std::align_val_t{64}); }
};
template <class T>
using array = std::unique_ptr<T[], free_aligned>;

template <class T>
array<T> make_array(size_t count) {
    return array<T>(static_cast<T *>(::operator new[](std::max<size_t>(count, 1) * sizeof(T), std::align_val_t{64})));
}

inline float from_bf16(uint16_t value) {
    return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// Rounds to the nearest, ties to even. Must not get NaN.
inline uint16_t to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// Fill with NaN, so that a check finds values that nobody wrote.
inline void fill_nan(float *values, size_t count) {
    std::fill_n(values, count, std::numeric_limits<float>::quiet_NaN());
}
inline void fill_nan(uint16_t *values, size_t count) {
    std::fill_n(values, count, uint16_t{0x7FC0});
}

inline array<float> random_floats(size_t count, float deviation, uint32_t seed) {
    array<float> values = make_array<float>(count);
    std::minstd_rand random(seed);
    std::normal_distribution<float> normal(0, deviation);
    std::generate_n(values.get(), count, [&] { return normal(random); });
    return values;
}

inline array<uint16_t> to_bf16(const float *values, size_t count) {
    array<uint16_t> rounded = make_array<uint16_t>(count);
    std::transform(values, values + count, rounded.get(), [](float value) { return to_bf16(value); });
    return rounded;
}

inline float largest(const float *values, size_t count) {
    float most = std::numeric_limits<float>::min();
    for (size_t i = 0; i < count; ++i) most = std::max(most, std::fabs(values[i]));
    return most;
}

}  // namespace ss1::bench
