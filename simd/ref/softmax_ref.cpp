// SPDX-License-Identifier: Apache-2.0
// The specification of softmax: y = exp(scale*y - max) / sum, max and sum over the row.
#include <cassert>
#include <cmath>

#include "kernels.hpp"

namespace ss1 {

void softmax_f32_ref(const softmax_args &args) noexcept {
    assert(args.n >= 1 && (args.m <= 1 || args.ldy >= args.n));
    for (size_t i = 0; i < args.m; i++) {
        float *y = args.y + i * args.ldy;
        double max = -HUGE_VAL, sum = 0;
        // A NaN never becomes the maximum, but its exp is NaN, and so are the sum and the whole row. (Not fmax: GCC 12
        // for aarch64 crashes when it vectorizes that reduction to double.)
        for (size_t j = 0; j < args.n; j++)
            if (args.scale * y[j] > max) max = args.scale * y[j];
        for (size_t j = 0; j < args.n; j++) sum += std::exp(static_cast<double>(args.scale * y[j]) - max);
        for (size_t j = 0; j < args.n; j++)
            y[j] = static_cast<float>(std::exp(static_cast<double>(args.scale * y[j]) - max) / sum);
    }
}

}  // namespace ss1
