// SPDX-License-Identifier: Apache-2.0
// The highest rate of the machine: a loop that runs its matrix or vector unit on registers alone, on every thread. It
// is timed beside the contenders.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace ss1::bench {

struct ceiling {
    std::string name;           // "FMA avx512", "vdpbf16ps", "AMX bf16", "AMX int8"
    double flops = 0;           // FLOP of one call on all threads
    std::function<void()> run;  // empty: this machine has no such loop
    // AMX only: the same number of products with tiles streamed from 1 MB in L2. On shared machines tile loads run
    // several times slower for seconds, and the loop on registers does not show it.
    std::function<void()> control;
};

// Takes the fastest unit for the products of "f32", "bf16" or "int8" layers.
ceiling make_ceiling(const std::string &dtype, uint32_t threads);

}  // namespace ss1::bench
