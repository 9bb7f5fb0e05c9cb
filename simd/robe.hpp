// SPDX-License-Identifier: Apache-2.0
// The hash of ROBE-Z tables (Desai et al., MLSys 2022); docs/format.md defines it. Files with ISA flags must not
// include it.
#pragma once
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {

// Hashes v after the values that h already stands for, by splitmix64's finalizer.
inline uint64_t robe_mix(uint64_t h, uint64_t v) noexcept {
    h += 0x9E3779B97F4A7C15u * (v + 1);
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 27) * 0x94D049BB133111EBu;
    return h ^ h >> 31;
}

// m is a multiple of `chunk`, which is a power of two of at least 8.
inline robe_layout make_robe_layout(uint64_t seed, uint64_t table, size_t m, size_t chunk) noexcept {
    const size_t line = chunk < 16 ? chunk : 16;  // a cache line
    const uint64_t places = m / line;
    return {robe_mix(seed, table), places, ~uint64_t{0} / places, chunk, line};
}

// Returns the first element of chunk z. The quotient by the reciprocal is exact or one too low, as the dividend has 63
// bits.
inline size_t robe_offset(const robe_layout &robe, uint64_t row_hash, uint64_t z) noexcept {
    const uint64_t h = robe_mix(row_hash, z) >> 1;
    __extension__ using wide = unsigned __int128;
    const uint64_t quotient = static_cast<uint64_t>(static_cast<wide>(h) * robe.reciprocal >> 64);
    uint64_t place = h - quotient * robe.places;
    if (place >= robe.places) place -= robe.places;
    return place * robe.line;
}

}  // namespace ss1
