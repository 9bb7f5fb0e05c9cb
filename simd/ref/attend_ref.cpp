// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>
#include <cmath>

#include "half.hpp"
#include "kernels.hpp"

namespace ss1 {

// The specification of attend. Scratch holds the scores of a row.
void attend_bf16_ref(const attend_args &args) noexcept {
    assert(args.n >= 1 && args.ld >= args.d);
    assert(reinterpret_cast<uintptr_t>(args.scratch) % 64 == 0);
    auto *p = static_cast<float *>(args.scratch);
    for (size_t i = 0; i < args.m; i++) {
        float max = -HUGE_VALF, sum = 0;
        for (size_t j = 0; j < args.n; j++) {
            p[j] = 0;
            for (size_t k = 0; k < args.d; k++)
                p[j] += bf16_to_f32(args.q[i * args.ld + k]) * bf16_to_f32(args.k[j * args.ld + k]);
            if (args.mask) p[j] += args.mask[j];
            max = std::max(max, p[j]);
        }
        for (size_t j = 0; j < args.n; j++) sum += p[j] = std::exp(args.scale * (p[j] - max));
        for (size_t k = 0; k < args.d; k++) {
            float y = 0;
            for (size_t j = 0; j < args.n; j++) y += p[j] * bf16_to_f32(args.v[j * args.ld + k]);
            args.y[i * args.ld + k] = bf16_from_f32(y / sum);
        }
    }
}

}  // namespace ss1
