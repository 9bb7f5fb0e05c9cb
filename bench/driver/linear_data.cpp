// SPDX-License-Identifier: Apache-2.0
#include "driver/linear_data.hpp"

#include <numbers>

#include "apps/failure.hpp"
#include "driver/loops.hpp"

namespace ss1::bench {

using namespace apps;

namespace {

constexpr size_t checked_rows = 64;

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

float widened(float value) {
    return value;
}
float widened(uint16_t value) {
    return from_bf16(value);
}

double square_norm(const float *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    return sum;
}

// The error of the checked rows; NaN if a value of any row is not finite.
template <class Y>
double relative_error(const Y *y, size_t m, size_t n, const std::vector<size_t> &rows, const float *expected,
                      double norm) {
    double difference = 0;
    for (size_t i = 0; i < m * n; ++i)
        if (!std::isfinite(widened(y[i]))) return std::numeric_limits<double>::quiet_NaN();
    for (size_t i = 0; i < rows.size(); ++i)
        for (size_t j = 0; j < n; ++j) {
            const double wanted = expected[i * n + j], got = static_cast<double>(widened(y[rows[i] * n + j]));
            difference += (got - wanted) * (got - wanted);
        }
    return difference == 0 ? 0 : std::sqrt(difference / norm);
}

}  // namespace

precision parse_precision(const std::string &name, bool f32_rows) {
    if (name == "f32") return {name, SS1_DTYPE_F32, SS1_DTYPE_F32, SS1_DTYPE_F32, SS1_PEER_F32, 1e-4};
    if (name == "bf16") return {name, SS1_DTYPE_BF16, SS1_DTYPE_BF16, SS1_DTYPE_BF16, SS1_PEER_BF16, 2e-2};
    const ss1_dtype rows = f32_rows ? SS1_DTYPE_F32 : SS1_DTYPE_BF16;
    if (name == "int8") return {name, rows, rows, SS1_DTYPE_I8, SS1_PEER_U8S8, 5e-2};
    throw failure("--dtype: '" + name + "' is none of f32, bf16, int8");
}

peer_weights::peer_weights(const float *weights, size_t n, size_t k, ss1_peer_precision wanted)
    : format(wanted), f32(weights) {
    if (format == SS1_PEER_BF16) bf16 = to_bf16(weights, n * k);
    if (format != SS1_PEER_U8S8) return;
    s8 = make_array<int8_t>(n * k);
    scales = make_array<float>(n);
    for (size_t j = 0; j < n; ++j) {
        scales[j] = largest(weights + j * k, k) / 127;
        for (size_t i = 0; i < k; ++i) s8[j * k + i] = static_cast<int8_t>(std::lround(weights[j * k + i] / scales[j]));
    }
}

const void *peer_weights::data() const {
    if (format == SS1_PEER_F32) return f32;
    return format == SS1_PEER_BF16 ? static_cast<const void *>(bf16.get()) : s8.get();
}

size_t peer_weights::item_bytes() const {
    return format == SS1_PEER_F32 ? 4 : format == SS1_PEER_BF16 ? 2 : 1;
}

linear_data::linear_data(size_t k_, size_t n_, size_t max_m, const precision &wanted)
    : type(wanted),
      k(k_),
      n(n_),
      x(random_floats(max_m * k, 1, 3)),
      weight(random_floats(n * k, 1 / std::sqrt(static_cast<float>(k)), 1)),
      bias(random_floats(n, 1, 2)),
      dense(weight.get(), n, k, type.peer),
      y_f32(make_array<float>(max_m * n)),
      y_bf16(make_array<uint16_t>(max_m * n)) {
    const size_t count = max_m * k;
    if (type.x == SS1_DTYPE_BF16) {
        x_bf16 = to_bf16(x.get(), count);
        std::transform(x_bf16.get(), x_bf16.get() + count, x.get(), from_bf16);
    }
    x_scale = largest(x.get(), count) / 127;
    if (type.peer == SS1_PEER_U8S8) {
        x_u8 = make_array<uint8_t>(count);
        std::transform(x.get(), x.get() + count, x_u8.get(),
                       [&](float value) { return static_cast<uint8_t>(std::lround(value / x_scale) + 128); });
    }
}

const void *linear_data::layer_x() const {
    return type.x == SS1_DTYPE_BF16 ? static_cast<const void *>(x_bf16.get()) : x.get();
}

void *linear_data::layer_y() const {
    return peer_y(type.y == SS1_DTYPE_BF16 ? SS1_PEER_TO_BF16 : SS1_PEER_TO_F32);
}

const void *linear_data::peer_x() const {
    return type.peer == SS1_PEER_U8S8 ? x_u8.get() : layer_x();
}

void *linear_data::peer_y(ss1_peer_output output) const {
    return output == SS1_PEER_TO_BF16 ? static_cast<void *>(y_bf16.get()) : y_f32.get();
}

ss1_peer_problem linear_data::problem(size_t m) const {
    ss1_peer_problem p = {};
    p.m = m;
    p.k = k;
    p.n = n;
    p.precision = type.peer;
    p.x = peer_x();
    p.weight = dense.data();
    p.bias = bias.get();
    p.x_scale = x_scale;
    p.weight_scale = dense.scales.get();
    return p;
}

expectation::expectation(const linear_data &data, size_t m, const float *weight, ss1_activation activation)
    : data_(data), m_(m) {
    const size_t count = std::min(m, checked_rows), k = data.k, n = data.n;
    const array<float> x = make_array<float>(count * k);
    for (size_t i = 0; i < count; ++i) {
        rows_.push_back(count == 1 ? 0 : i * (m - 1) / (count - 1));  // includes the first and the last row
        std::copy_n(data.x.get() + rows_[i] * k, k, x.get() + i * k);
    }
    expected_ = make_array<float>(count * n);
    dense_reference(x.get(), weight, data.bias.get(), count, k, n, expected_.get());
    for (size_t i = 0; i < count * n; ++i)
        expected_[i] = static_cast<float>(activate(activation, static_cast<double>(expected_[i])));
    square_norm_ = std::max(square_norm(expected_.get(), count * n),
                            square_norm(x.get(), count * k) * square_norm(weight, n * k) / static_cast<double>(k));
}

double expectation::error(ss1_peer_output output) const {
    return output == SS1_PEER_TO_BF16
               ? relative_error(data_.y_bf16.get(), m_, data_.n, rows_, expected_.get(), square_norm_)
               : relative_error(data_.y_f32.get(), m_, data_.n, rows_, expected_.get(), square_norm_);
}

void spoil_output(const linear_data &data, size_t m) {
    fill_nan(data.y_f32.get(), m * data.n);
    fill_nan(data.y_bf16.get(), m * data.n);
}

}  // namespace ss1::bench
