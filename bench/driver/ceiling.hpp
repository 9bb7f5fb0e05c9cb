// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, as a loop to time beside the contenders: its matrix or vector unit fed from
// registers alone, on every thread.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace ss1::bench {

struct ceiling {
    std::string name;           // "FMA avx512", "AMX bf16", "AMX int8"
    double flops = 0;           // of one call, all threads together
    std::function<void()> run;  // empty: no such loop for this machine
    // AMX only: as many products with a tile streamed from 1 MB in L2. On shared machines tile loads run several times
    // slower for seconds, which the loop from registers does not notice.
    std::function<void()> control;
};

// The best unit for the products of "f32", "bf16" or "int8" layers.
ceiling make_ceiling(const std::string &dtype, uint32_t threads);

}  // namespace ss1::bench
