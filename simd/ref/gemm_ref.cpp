// SPDX-License-Identifier: Apache-2.0
// The specification of gemm: y[i,j] = act(start + sum_k a[i,k] * b[k,j]), k ascending, each product rounded.
#include <cassert>

#include "half.hpp"
#include "kernels.hpp"

namespace ss1 {
namespace {

float relu_if(bool relu, float sum) noexcept {
    return relu && sum < 0.0f ? 0.0f : sum;  // a comparison with NaN is false: NaN stays
}

// mr is 1; k_multiple is that of the row.
void check_shape([[maybe_unused]] const gemm_panel_args &g, [[maybe_unused]] size_t k_multiple) noexcept {
    assert(g.m <= 1 && g.k >= 1 && g.k % k_multiple == 0 && g.ldb >= g.k);
}

// nt = 1: a packed tile is one column of k values. `widen` converts a value to float.
template <class T, class F>
void gemm_float(const gemm_panel_args &g, F &&widen) noexcept {
    const float *a = static_cast<const float *>(g.a);
    for (size_t i = 0; i < g.m; i++) {
        for (size_t j = 0; j < g.n; j++) {
            const T *column = static_cast<const T *>(g.b) + j * g.ldb;
            float &y = static_cast<float *>(g.y)[i * g.ldy + j];
            float sum = g.accumulate ? y : g.bias ? g.bias[j] : 0.0f;
            for (size_t k = 0; k < g.k; k++) sum += a[i * g.lda + k] * widen(column[k]);
            y = relu_if(g.relu, sum);
        }
    }
}

}  // namespace

void gemm_f32_f32_ref(const gemm_panel_args &g) noexcept {
    check_shape(g, 1);
    gemm_float<float>(g, [](float b) { return b; });
}

void gemm_f32_bf16_ref(const gemm_panel_args &g) noexcept {
    check_shape(g, 2);
    gemm_float<uint16_t>(g, bf16_to_f32);
}

void gemm_s8_s8_ref(const gemm_panel_args &g) noexcept {
    check_shape(g, 4);
    assert(g.row_scale && g.column_scale && !g.accumulate);
    const int8_t *a = static_cast<const int8_t *>(g.a);
    for (size_t i = 0; i < g.m; i++) {
        for (size_t j = 0; j < g.n; j++) {
            const int8_t *column = static_cast<const int8_t *>(g.b) + j * g.ldb;
            int32_t sum = g.column_start ? g.column_start[j] : 0;
            for (size_t k = 0; k < g.k; k++) sum += int32_t{a[i * g.lda + k]} * column[k];
            const float scaled = g.row_scale[i] * g.column_scale[j] * static_cast<float>(sum);
            static_cast<float *>(g.y)[i * g.ldy + j] = relu_if(g.relu, scaled + (g.bias ? g.bias[j] : 0.0f));
        }
    }
}

}  // namespace ss1
