// SPDX-License-Identifier: Apache-2.0
// Where each weight of T(Z), the tied part of W, stands in Z: the rotation r(j,g,q) and the sign s(j,g,q) of both
// schemes.
//   W[(g*c+q)*B_K + t, n] = s * Z[n, g*B_K + (t - r) mod B_K]         0 <= t < B_K,  j = n div B_N
#pragma once
#include "kernels.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// With int8 weights, 127 * 127 * columns must fit an s32.
constexpr size_t max_int8_columns = 131072;

// Replaces the defaults of `desc` and checks every rule. @param stored_columns receives Kz; may be NULL.
ss1_status linear_resolve(ss1_linear_desc &desc, size_t *stored_columns) noexcept;

// The mapping of one resolved desc.
struct mapping {
    explicit mapping(const ss1_linear_desc &resolved) noexcept;

    // Returns r and s of output block j, group g, member q.
    sketch_entry entry(size_t j, size_t g, size_t q) const noexcept;

    // In the reference scheme r is a sum, alpha(j,g) + rho(q) mod B_K. If the stored weights are rotated by alpha, one
    // sketch by rho serves every output block.
    uint32_t alpha(size_t j, size_t g) const noexcept;
    uint32_t rho(size_t q) const noexcept;

    size_t groups() const noexcept { return stored_columns / desc.block_k; }
    size_t output_blocks() const noexcept { return (desc.N + desc.block_n - 1) / desc.block_n; }

    ss1_linear_desc desc;
    size_t stored_columns;  // Kz; 0 without a tied part
    size_t live_columns;    // later stored columns count as zero (the authors' kernel ignores them)

  private:
    uint64_t r1_ = 0, r2_ = 0, r3_ = 0;
};

}  // namespace ss1
