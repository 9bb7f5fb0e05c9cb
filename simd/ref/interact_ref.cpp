// SPDX-License-Identifier: Apache-2.0
// The specification of interact: z[b,p] = <t_i, t_j> for the pairs j < i (itself: j <= i), i ascending, then j.
#include <cassert>

#include "kernels.hpp"

namespace ss1 {

void interact_f32_ref(const interact_args &args) noexcept {
    assert(args.batch <= 1 || args.ldt >= args.f * args.d);
    assert(args.batch <= 1 || 2 * args.ldz >= args.f * (args.itself ? args.f + 1 : args.f - 1));
    for (size_t b = 0; b < args.batch; b++) {
        const float *t = args.t + b * args.ldt;
        float *z = args.z + b * args.ldz;
        for (size_t i = 0; i < args.f; i++) {
            for (size_t j = 0; j < i + args.itself; j++) {
                float sum = 0.0f;
                for (size_t k = 0; k < args.d; k++) sum += t[i * args.d + k] * t[j * args.d + k];
                *z++ = sum;
            }
        }
    }
}

}  // namespace ss1
