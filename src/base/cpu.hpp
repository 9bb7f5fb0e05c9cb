// SPDX-License-Identifier: Apache-2.0
// Describes this machine: instruction sets, caches, and the CPUs that this process may use.
#pragma once
#include <span>
#include <string>

#include "kernels.hpp"

namespace ss1 {

// A level of SS1_MAX_ISA. Levels are sorted, lowest first; a cap at one keeps the bits of all levels up to it.
struct isa_level {
    const char *name;
    isa::mask bit;
};
std::span<const isa_level> isa_levels() noexcept;  // those of this architecture; the first is "none"

// The instruction sets that the CPU has and whose registers the system saves (XCR0).
isa::mask cpu_detect_isas() noexcept;

struct cache_sizes {
    size_t l1d, l2, l3;  // bytes, 0 if unknown
    // What blocks are planned for: 2 MB where the size is unknown.
    size_t l2_or_usual() const noexcept { return l2 ? l2 : size_t{2} << 20; }
};
cache_sizes cpu_caches() noexcept;
std::string cpu_model_name();

// The CPUs granted by the cgroups (v2, v1) of this process and all their ancestors, the least of them; 0 means no
// quota. /proc and /sys are read below `root`, which is "" but in tests.
double cpu_cgroup_quota(const std::string &root);

// The number of CPUs that this process may use: those of its affinity mask, at most the quota, rounded up. The reason
// in words.
struct cpu_budget {
    uint32_t threads;
    std::string reason;
};
cpu_budget cpu_usable_threads(const std::string &root = "");

}  // namespace ss1
