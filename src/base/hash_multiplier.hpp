// SPDX-License-Identifier: Apache-2.0
// Fibonacci hashing of keys that a file decides.
#pragma once
#include <sys/random.h>

#include <chrono>
#include <cstdint>

namespace ss1 {

// The high 16 bits are those of 2^64 / golden ratio, which spread numbers that follow each other. The others are
// random: with a known multiplier, a file could be made whose keys all want the same slot, so that each search passes
// over all of them.
inline uint64_t hash_multiplier() noexcept {
    uint64_t random;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)  // a sandbox may refuse the call
        random =
            static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) * 0x9E3779B97F4A7C15u;
    return uint64_t{0x9E37} << 48 | random >> 16 | 1;
}

}  // namespace ss1
