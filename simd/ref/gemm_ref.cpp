// SPDX-License-Identifier: Apache-2.0
// The specification of gemm: c[i,j] = act(init[i,j] + sum_k a[i,k] * b[k,j]), k ascending, each product rounded.
#include "kernels.hpp"

namespace ss1 {

void gemm_f32_1x1_ref(const gemm_args &g) noexcept {
    for (size_t i = 0; i < g.m; i++) {
        for (size_t j = 0; j < g.n; j++) {
            const float *column = g.b + j * g.ldb;  // nt = 1: a packed tile is one column
            float &c = g.c[i * g.ldc + j];
            float sum = g.accumulate ? c : g.bias ? g.bias[j] : 0.0f;
            for (size_t k = 0; k < g.k; k++) sum += g.a[i * g.lda + k] * column[k];
            c = g.relu && sum < 0.0f ? 0.0f : sum;  // a comparison with NaN is false: NaN stays
        }
    }
}

}  // namespace ss1
