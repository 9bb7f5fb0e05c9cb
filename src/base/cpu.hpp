// SPDX-License-Identifier: Apache-2.0
// What this machine is: instruction sets, caches, and the CPUs that this process may use.
#pragma once
#include <span>
#include <string>

#include "kernels.hpp"

namespace ss1 {

// A level of SS1_MAX_ISA, lowest first. A cap at a level keeps the bits of all levels up to it.
struct isa_level {
    const char *name;
    isa::mask bit;
};
std::span<const isa_level> isa_levels() noexcept;  // those of this architecture; the first is "none"

// Instruction sets that the CPU has and the system saves the registers of (XCR0).
isa::mask cpu_detect_isas() noexcept;

struct cache_sizes {
    size_t l1d, l2, l3;  // bytes, 0 if unknown
};
cache_sizes cpu_caches() noexcept;
std::string cpu_model_name();

// CPUs worth of work that this process may use, and the reason in words.
struct cpu_budget {
    uint32_t threads;
    std::string reason;
};
cpu_budget cpu_usable_threads();

}  // namespace ss1
