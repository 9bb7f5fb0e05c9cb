// SPDX-License-Identifier: Apache-2.0
// The specification of the activations, computed in double and rounded once.
#include <cassert>
#include <cmath>
#include <numbers>

#include "kernels.hpp"

namespace ss1 {
namespace {

double relu(double x) {
    return x < 0 ? 0 : x;
}

// x * P(normal <= x). erfc keeps the small values on the negative side, where 1 + erf would cancel.
double gelu(double x) {
    return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
}

double sigmoid(double x) {
    return 1 / (1 + std::exp(-x));
}

double silu(double x) {
    return x * sigmoid(x);
}

// 0.5 x (1 + tanh z) = x sigmoid(2z),  z = sqrt(2/pi) (x + 0.044715 x^3)
double gelu_tanh(double x) {
    return x * sigmoid(2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x));
}

template <double (*f)(double)>
void each(const activation_args &args) {
    assert(args.m <= 1 || args.ldy >= args.n);
    for (size_t i = 0; i < args.m; i++)
        for (size_t j = 0; j < args.n; j++) {
            float &y = args.y[i * args.ldy + j];
            y = static_cast<float>(f(y));
        }
}

// For functions x * p(x) with p -> 0 on the left: -inf * 0 is NaN, but the limit is -0, which floats reach long before
// -1000.
template <double (*f)(double)>
double with_limit(double x) {
    return x < -1000 ? -0.0 : f(x);
}

double hyperbolic_tangent(double x) {
    return std::tanh(x);
}

}  // namespace

void relu_f32_ref(const activation_args &args) noexcept {
    each<relu>(args);
}
void gelu_f32_ref(const activation_args &args) noexcept {
    each<with_limit<gelu>>(args);
}
void gelu_tanh_f32_ref(const activation_args &args) noexcept {
    each<with_limit<gelu_tanh>>(args);
}
void gelu_bf16_f32_ref(const activation_args &args) noexcept {
    each<with_limit<gelu>>(args);
}
void tanh_f32_ref(const activation_args &args) noexcept {
    each<hyperbolic_tangent>(args);
}
void sigmoid_f32_ref(const activation_args &args) noexcept {
    each<sigmoid>(args);
}
void silu_f32_ref(const activation_args &args) noexcept {
    each<with_limit<silu>>(args);
}

}  // namespace ss1
