// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of the kernel tables.
#pragma once
#include <cfloat>
#include <limits>
#include <string>

#include "base/amx.hpp"
#include "base/cpu.hpp"
#include "base/kernel_scope.hpp"
#include "check.hpp"
#include "kernels.hpp"

namespace ss1_test {

constexpr double unit = FLT_EPSILON / 2;  // largest relative error of one rounding
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// Whether this machine can run a row. Rows of an instruction set that SS1_TEST_REQUIRE_ISA promises are never left out:
// another test fails if such a set is not found.
inline bool usable(const std::string &name, ss1::isa::mask needs) {
    const bool tiles = needs & (ss1::isa::amx_bf16 | ss1::isa::amx_int8);
    if (needs & ~ss1::cpu_detect_isas()) {
        WARN(name << " not tested: the CPU lacks its instruction set");
    } else if (tiles && ss1::amx_refusal()) {
        WARN(name << " not tested: " << ss1::amx_refusal());
    } else {
        return true;
    }
    return false;
}

}  // namespace ss1_test
