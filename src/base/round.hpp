// SPDX-License-Identifier: Apache-2.0
// Divisions that round up.
#pragma once
#include <cstddef>

namespace ss1 {

constexpr size_t ceil_div(size_t a, size_t b) noexcept {
    return (a + b - 1) / b;
}

// The next multiple of b.
constexpr size_t round_up(size_t a, size_t b) noexcept {
    return ceil_div(a, b) * b;
}

}  // namespace ss1
