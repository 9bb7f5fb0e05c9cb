// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "dense_baseline.hpp"

namespace ss1::cli {
namespace {

double activate(ss1_activation activation, double x) {
    switch (activation) {
        case SS1_ACTIVATION_RELU:
            return x > 0 ? x : 0;
        case SS1_ACTIVATION_GELU:
            return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
        case SS1_ACTIVATION_GELU_TANH:
            return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
        case SS1_ACTIVATION_TANH:
            return std::tanh(x);
        case SS1_ACTIVATION_SIGMOID:
            return 1 / (1 + std::exp(-x));
        case SS1_ACTIVATION_SILU:
            return x / (1 + std::exp(-x));
        default:
            return x;
    }
}

// Sixteen sums, so that the compiler may use vectors without changing the meaning of the code.
double dot(const float *a, const float *b, size_t k) {
    float sums[16] = {};
    size_t i = 0;
    for (; i + 16 <= k; i += 16)
        for (size_t lane = 0; lane < 16; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    double total = 0;
    for (; i < k; ++i) total += static_cast<double>(a[i]) * b[i];
    for (const float sum : sums) total += sum;
    return total;
}

}  // namespace

struct dense_baseline::state {
    dense_problem problem;
};

std::string dense_library() {
    return "";
}

dense_baseline::dense_baseline(const dense_problem &problem, size_t, uint32_t)
    : state_(std::make_unique<state>(state{problem})) {}

dense_baseline::~dense_baseline() = default;

void dense_baseline::run(size_t) {
    const dense_problem &p = state_->problem;
    for (size_t i = 0; i < p.m; ++i)
        for (size_t j = 0; j < p.n; ++j)
            p.y[i * p.n + j] =
                static_cast<float>(activate(p.activation, dot(p.x + i * p.k, p.weight + j * p.k, p.k) + p.bias[j]));
}

}  // namespace ss1::cli
