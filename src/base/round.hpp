// SPDX-License-Identifier: Apache-2.0
// Integer division and rounding, both upwards. The sums must not overflow.
#pragma once
#include <cstddef>

namespace ss1 {

constexpr size_t ceil_div(size_t a, size_t b) noexcept {
    return (a + b - 1) / b;
}
constexpr size_t round_up(size_t a, size_t multiple) noexcept {
    return ceil_div(a, multiple) * multiple;
}

}  // namespace ss1
