// SPDX-License-Identifier: Apache-2.0
// Softmax over xsimd, for one arch per including file.
#pragma once
#include "kernels.hpp"
#include "lanes.hpp"

namespace ss1 {
namespace {

// Combines all lanes, pair by pair.
template <class V, class F>
inline float fold(V v, F &&f) {
    alignas(V) float lane[V::size];
    v.store_aligned(lane);
    for (size_t half = V::size / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) lane[l] = f(lane[l], lane[l + half]);
    return lane[0];
}

// Some rows together: one alone waits for the latency of its exponentials and of its folds. max may drop a NaN, but exp
// and the sum keep it, so its row becomes NaN either way.
template <class V, size_t rows>
inline void softmax_rows(float *y, size_t ld, size_t n, V scale) {
    V max[rows], sum[rows];
    float total[rows] = {};
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++) {
        max[i] = V(-__builtin_inff());
        sum[i] = V(0.0f);
    }
    // Lanes past the end repeat the first column.
    for (size_t j = 0; j < n; j += V::size)
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            const float *row = y + i * ld;
            max[i] = xsimd::max(max[i], scale * load_at<V>(row, j, n, row[0]));
        }
    for (size_t i = 0; i < rows; i++) max[i] = V(fold(max[i], [](float a, float b) { return a > b ? a : b; }));

    size_t j = 0;
    for (; j + V::size <= n; j += V::size)
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            float *at = y + i * ld + j;
            const V e = xsimd::exp(scale * V::load_unaligned(at) - max[i]);
            e.store_unaligned(at);
            sum[i] += e;
        }
    alignas(V) float lane[V::size];
    for (size_t i = 0; j < n && i < rows; i++) {
        float *row = y + i * ld;
        xsimd::exp(scale * load_at<V>(row, j, n, row[0]) - max[i]).store_aligned(lane);
        for (size_t l = 0; j + l < n; l++) total[i] += row[j + l] = lane[l];
    }
    for (size_t i = 0; i < rows; i++)
        sum[i] = V(1.0f / (total[i] + fold(sum[i], [](float a, float b) { return a + b; })));
    for (j = 0; j < n; j += V::size)
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            float *row = y + i * ld;
            store_at(load_at<V>(row, j, n, 0.0f) * sum[i], row, j, n);
        }
}

template <class V>
inline void softmax(const softmax_args &args) {
    constexpr size_t rows = 4;
    const V scale(args.scale);
    size_t i = 0;
    for (; i + rows <= args.m; i += rows) softmax_rows<V, rows>(args.y + i * args.ldy, args.ldy, args.n, scale);
    for (; i < args.m; i++) softmax_rows<V, 1>(args.y + i * args.ldy, args.ldy, args.n, scale);
}

}  // namespace
}  // namespace ss1
