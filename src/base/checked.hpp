// SPDX-License-Identifier: Apache-2.0
// All sizes that come from files are multiplied and added with these functions.
#pragma once
#include <cstddef>
#include <span>

namespace ss1 {

// out = a * b or a + b. @return false if the result does not fit; `out` must not be used then.
[[nodiscard]] inline bool checked_mul(size_t a, size_t b, size_t &out) noexcept {
    return !__builtin_mul_overflow(a, b, &out);
}
[[nodiscard]] inline bool checked_add(size_t a, size_t b, size_t &out) noexcept {
    return !__builtin_add_overflow(a, b, &out);
}

// out = element_bytes * the product of `shape` (1 for a scalar).
[[nodiscard]] inline bool checked_bytes(std::span<const size_t> shape, size_t element_bytes, size_t &out) noexcept {
    out = element_bytes;
    for (const size_t n : shape) {
        if (!checked_mul(out, n, out)) return false;
    }
    return true;
}

}  // namespace ss1
