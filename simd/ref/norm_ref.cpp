// SPDX-License-Identifier: Apache-2.0
// The specification of norm: y = (t - mean(t)) / sqrt(var(t) + eps) * gamma + beta,  t = x + r.
#include <cassert>
#include <cmath>

#include "kernels.hpp"

namespace ss1 {

void norm_f32_ref(const norm_args &args) noexcept {
    assert(args.n >= 1);
    const double count = static_cast<double>(args.n);
    for (size_t i = 0; i < args.m; i++) {
        const float *x = args.x + i * args.n, *r = args.r ? args.r + i * args.n : nullptr;
        float *y = args.y + i * args.n;
        double mean = 0, variance = 0;
        for (size_t j = 0; j < args.n; j++) mean += (r ? x[j] + r[j] : x[j]) / count;
        for (size_t j = 0; j < args.n; j++) {
            const double d = (r ? x[j] + r[j] : x[j]) - mean;
            variance += d * d / count;
        }
        for (size_t j = 0; j < args.n; j++) {
            const double d = (r ? x[j] + r[j] : x[j]) - mean;
            y[j] = static_cast<float>(d / std::sqrt(variance + args.eps) * args.gamma[j] + args.beta[j]);
        }
    }
}

}  // namespace ss1
