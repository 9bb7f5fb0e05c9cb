// SPDX-License-Identifier: Apache-2.0
// The activations over xsimd, for one arch per including file. At most 4 ulp from the double result (for gelu_tanh see
// below); results below FLT_MIN may become zero, and so may the factor of x in silu and gelu_tanh. NaN stays NaN: only
// select and arithmetic are used, and min and max of a constant and a value in this order: if one operand is NaN, x86
// gives the second operand, Arm the NaN.
#pragma once
#include "kernels.hpp"
#include "lanes.hpp"

namespace ss1 {
namespace {

template <class V>
inline V relu(V x) {
    return xsimd::select(x < V(0.0f), V(0.0f), x);
}

template <class V>
inline V tanh(V x) {
    return xsimd::tanh(x);
}

// 1 / (1 + exp(-x)) with the exponential of -|x|, which cannot overflow.
template <class V>
inline V sigmoid(V x) {
    const V e = xsimd::exp(-xsimd::abs(x));
    return xsimd::select(x < V(0.0f), e, V(1.0f)) / (V(1.0f) + e);
}

// For x * p with p = 0 left of -bound: avoids -inf * 0 = NaN.
template <class V>
inline V at_least(V x, float bound) {
    return xsimd::select(x < V(-bound), V(-bound), x);
}

template <class V>
inline V silu(V x) {
    return at_least(x, 200.0f) * sigmoid(x);
}

// x sigmoid(2z), 2z = 2 sqrt(2/pi) (x + 0.044715 x^3). The rounding of z adds 3 |2z| ulp in the left tail.
template <class V>
inline V gelu_tanh(V x) {
    const V left = at_least(x, 20.0f);
    return left * sigmoid(left * mul_add(left * left, V(0.0713548163f), V(1.59576912f)));
}

// P(normal > t), 0 <= t <= 15. exp(t^2/2) P(t) (t+3) is smooth in q = (t-3)/(t+3); this Chebyshev fit is exact to 0.3
// ulp.
template <class V>
inline V normal_tail(V t) {
    const V w = V(1.0f) / (t + V(3.0f));
    const V q = mul_add(V(-6.0f), w, V(1.0f));
    constexpr float fit[] = {3.973129816e-5f, -0.0002191398923f, -0.000935871743f, 0.001033011106f, 0.006934259882f,
                             -0.01046769312f, -0.04725779114f,   0.2300182681f,    -0.509332185f,   0.7290836823f};
    V p(fit[0]);
    for (size_t i = 1; i < sizeof fit / sizeof *fit; i++) p = mul_add(p, q, V(fit[i]));
    // Rounding t^2/2 would cost t^2/2 ulp (100 at the far end), so it is s + rest: `high` has 12 bits, its square 24.
    const V c = V(4097.0f) * t, high = c - (c - t);
    const V square = V(0.5f) * high * high, cross = V(0.5f) * (t + high) * (t - high);
    const V s = square + cross, rest = (square - s) + cross;
    const V tail = xsimd::exp(-s) * (w * p);
    return tail - tail * rest;
}

// x P(normal <= x) = relu(x) - |x| P(normal > |x|), which does not cancel on either side.
template <class V>
inline V gelu(V x) {
    const V t = xsimd::abs(x);
    const V near = xsimd::select(t > V(15.0f), V(15.0f), t);
    return relu(x) - near * normal_tail(near);
}

// x P(normal <= x) with P - 1/2 as an odd polynomial up to |x| = 4.4, fitted for the least error times x; beyond, P is
// 0 or 1.
template <class V>
inline V gelu_bf16(V x) {
    constexpr float bound = 4.4f;
    const V left = xsimd::max(V(-bound), x), t = xsimd::min(V(bound), left), square = t * t;
    constexpr float fit[] = {3.569430780e-11f,  -3.754050493e-09f, 1.740847894e-07f,
                             -4.724869419e-06f, 8.429303083e-05f,  -1.054992604e-03f,
                             9.643028421e-03f,  -6.607643092e-02f, 3.987616000e-01f};
    V p(fit[0]);
    for (size_t i = 1; i < sizeof fit / sizeof *fit; i++) p = mul_add(p, square, V(fit[i]));
    p = mul_add(t, p, V(0.5f));
    return left * xsimd::min(V(1.0f), p);
}

template <class V, V (*f)(V)>
inline void each(const activation_args &args) {
    for (size_t i = 0; i < args.m; i++) {
        float *y = args.y + i * args.ldy;
        size_t j = 0;
        for (; j + V::size <= args.n; j += V::size) f(V::load_unaligned(y + j)).store_unaligned(y + j);
        if (j < args.n) store_at(f(load_at<V>(y, j, args.n, 0.0f)), y, j, args.n);
    }
}

}  // namespace
}  // namespace ss1
