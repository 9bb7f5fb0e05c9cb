// SPDX-License-Identifier: Apache-2.0
// What DLRMs do between bottom and top MLP: the dot interaction r = [t_0, <t_i, t_j> for the pairs of the kernel's
// order], and the elementwise step of a cross layer.
#pragma once
#include "op/split.hpp"

namespace ss1 {

// `args` as the kernel takes them, z[b] pointing behind the d elements of row b where t_0 goes.
inline void interact_here(const interact_kernel &kernel, const interact_args &args) noexcept {
    for (size_t b = 0; b < args.batch; ++b) std::copy_n(args.t + b * args.ldt, args.d, args.z + b * args.ldz - args.d);
    kernel.run(args);
}

inline void interact(const ss1_context &context, const interact_kernel &kernel, const interact_args &all) {
    // A row costs f^2 / 2 dot products of d elements, with operands in L1: 8 multiply-adds in the time of one float
    // from L2.
    parallel_ranges(context, all.batch, all.f * all.d * (1 + all.f / 16), [&](size_t begin, size_t end) {
        interact_args rows = all;
        rows.t += begin * all.ldt;
        rows.z += begin * all.ldz;
        rows.batch = end - begin;
        interact_here(kernel, rows);
    });
}

inline void cross(const ss1_context &context, const cross_kernel &kernel, const cross_args &all) {
    parallel_ranges(context, all.m, 4 * all.n, [&](size_t begin, size_t end) {
        kernel.run({all.y + begin * all.ldy, all.x0 + begin * all.ldx0, all.x + begin * all.ldx, end - begin, all.n,
                    all.ldy, all.ldx0, all.ldx});
    });
}

}  // namespace ss1
