// SPDX-License-Identifier: Apache-2.0
// Layer normalization over the rows of a matrix, with its residual.
#pragma once
#include "op/split.hpp"

namespace ss1 {

inline void normalize(const team &who, const norm_kernel &kernel, const norm_args &all) {
    const size_t n = all.n;
    parallel_ranges(who, all.m, 3 * n, [&](size_t begin, size_t end) {
        norm_args rows = all;
        rows.x += begin * n;
        if (rows.r) rows.r += begin * n;
        rows.y += begin * n;
        rows.m = end - begin;
        kernel.run(rows);
    });
}

}  // namespace ss1
