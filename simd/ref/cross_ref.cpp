// SPDX-License-Identifier: Apache-2.0
// The specification of cross: y = x0 * y + x, element by element.
#include <cassert>

#include "kernels.hpp"

namespace ss1 {

void cross_f32_ref(const cross_args &args) noexcept {
    assert(args.m <= 1 || (args.ldx0 >= args.n && args.ldx >= args.n && args.ldy >= args.n));
    for (size_t i = 0; i < args.m; i++) {
        const float *x0 = args.x0 + i * args.ldx0, *x = args.x + i * args.ldx;
        float *y = args.y + i * args.ldy;
        for (size_t j = 0; j < args.n; j++) y[j] = x0[j] * y[j] + x[j];
    }
}

}  // namespace ss1
