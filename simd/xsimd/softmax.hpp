// SPDX-License-Identifier: Apache-2.0
// Softmax over xsimd, for one arch per including file.
#pragma once
#include "kernels.hpp"
#include "lanes.hpp"

namespace ss1 {
namespace {

// max may drop a NaN, but exp and the sum keep it, so its row becomes NaN either way.
template <class V>
inline void softmax_row(float *y, size_t n, V scale) {
    constexpr float lowest = -__builtin_inff();
    V max(lowest);
    // Lanes past the end repeat the first column.
    for (size_t j = 0; j < n; j += V::size) max = xsimd::max(max, scale * load_at<V>(y, j, n, y[0]));
    alignas(V) float lane[V::size];
    max.store_aligned(lane);
    for (size_t l = 1; l < V::size; l++) lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
    max = V(lane[0]);

    V sum(0.0f);
    size_t j = 0;
    for (; j + V::size <= n; j += V::size) {
        const V e = xsimd::exp(scale * V::load_unaligned(y + j) - max);
        e.store_unaligned(y + j);
        sum += e;
    }
    float total = 0.0f;
    if (j < n) {
        xsimd::exp(scale * load_at<V>(y, j, n, y[0]) - max).store_aligned(lane);
        for (size_t l = 0; j + l < n; l++) total += y[j + l] = lane[l];
    }
    sum.store_aligned(lane);
    for (size_t l = 0; l < V::size; l++) total += lane[l];

    const V factor(1.0f / total);
    for (j = 0; j < n; j += V::size) store_at(load_at<V>(y, j, n, 0.0f) * factor, y, j, n);
}

template <class V>
inline void softmax(const softmax_args &args) {
    for (size_t i = 0; i < args.m; i++) softmax_row<V>(args.y + i * args.ldy, args.n, V(args.scale));
}

}  // namespace
}  // namespace ss1
