// SPDX-License-Identifier: Apache-2.0
// Starts the sums of gemm and stores them, four columns of a row at a time.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace ss1 {
namespace {

// Stores y[i, j..j+4) = act(v), but no column from n on.
inline void store_columns(const gemm_panel_args &g, size_t i, size_t j, float32x4_t v) noexcept {
    const float32x4_t zero = vdupq_n_f32(0);
    if (g.relu) v = vbslq_f32(vcltq_f32(v, zero), zero, v);  // a comparison with NaN is false: NaN stays
    float *y = static_cast<float *>(g.y) + i * g.ldy + j;
    if (j + 4 <= g.n) return vst1q_f32(y, v);
    float copy[4];
    vst1q_f32(copy, v);
    for (size_t u = 0; j + u < g.n; u++) y[u] = copy[u];
}

struct integer_sums {
    using sums = int32x4_t;
    static sums start(const gemm_panel_args &g, size_t, size_t j) noexcept {
        return g.column_start ? vld1q_s32(g.column_start + j) : vdupq_n_s32(0);
    }
    static void finish(const gemm_panel_args &g, size_t i, size_t j, sums sum) noexcept {
        const float32x4_t scale = vmulq_n_f32(vld1q_f32(g.column_scale + j), g.row_scale[i]);
        const float32x4_t bias = g.bias ? vld1q_f32(g.bias + j) : vdupq_n_f32(0);
        store_columns(g, i, j, vaddq_f32(vmulq_f32(scale, vcvtq_f32_s32(sum)), bias));
    }
};

struct float_sums {
    using sums = float32x4_t;
    static sums start(const gemm_panel_args &g, size_t i, size_t j) noexcept {
        if (!g.accumulate) return g.bias ? vld1q_f32(g.bias + j) : vdupq_n_f32(0);
        const float *y = static_cast<const float *>(g.y) + i * g.ldy + j;
        if (j + 4 <= g.n) return vld1q_f32(y);
        float copy[4] = {};
        for (size_t u = 0; j + u < g.n; u++) copy[u] = y[u];
        return vld1q_f32(copy);
    }
    static void finish(const gemm_panel_args &g, size_t i, size_t j, sums sum) noexcept { store_columns(g, i, j, sum); }
};

}  // namespace
}  // namespace ss1
