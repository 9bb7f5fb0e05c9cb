// SPDX-License-Identifier: Apache-2.0
// The dot interaction of DLRM: r = [t_0, <t_i, t_j> for the pairs of the kernel's order].
#pragma once
#include "op/split.hpp"

namespace ss1 {

// `all` as the kernel takes it, z[b] pointing behind the d elements of row b where t_0 goes.
inline void interact(const ss1_context &context, const interact_kernel &kernel, const interact_args &all) {
    // A row costs f^2 / 2 dot products of d elements, with operands in L1: 8 multiply-adds in the time of one float
    // from L2.
    parallel_ranges(context, all.batch, all.f * all.d * (1 + all.f / 16), [&](size_t begin, size_t end) {
        interact_args rows = all;
        rows.t += begin * all.ldt;
        rows.z += begin * all.ldz;
        rows.batch = end - begin;
        for (size_t b = 0; b < rows.batch; ++b) std::copy_n(rows.t + b * all.ldt, all.d, rows.z + b * all.ldz - all.d);
        kernel.run(rows);
    });
}

}  // namespace ss1
