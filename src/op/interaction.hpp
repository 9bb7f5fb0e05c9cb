// SPDX-License-Identifier: Apache-2.0
// What DLRMs do between bottom and top MLP: the dot interaction r = [t_0, <t_i, t_j> for the pairs in the order of the
// kernel], and the elementwise step of a cross layer.
#pragma once
#include "op/split.hpp"

namespace ss1 {

// `args` as the kernel takes them; z[b] points behind the d elements of row b that receive t_0.
inline void interact(const team &who, const interact_kernel &kernel, const interact_args &all) {
    // A row costs f^2 / 2 dot products of d elements, with operands in L1: 8 multiply-adds in the time of one float
    // from L2.
    parallel_ranges(who, all.batch, all.f * all.d * (1 + all.f / 16), [&](size_t begin, size_t end) {
        interact_args rows = all;
        rows.t += begin * all.ldt;
        rows.z += begin * all.ldz;
        rows.batch = end - begin;
        for (size_t b = 0; b < rows.batch; ++b)
            std::copy_n(rows.t + b * rows.ldt, rows.d, rows.z + b * rows.ldz - rows.d);
        kernel.run(rows);
    });
}

inline void cross(const team &who, const cross_kernel &kernel, const cross_args &all) {
    parallel_ranges(who, all.m, 4 * all.n, [&](size_t begin, size_t end) {
        cross_args rows = all;
        rows.y += begin * all.ldy;
        rows.x0 += begin * all.ldx0;
        rows.x += begin * all.ldx;
        rows.m = end - begin;
        kernel.run(rows);
    });
}

}  // namespace ss1
