// SPDX-License-Identifier: Apache-2.0
// Helpers for the layer tests: contexts, random weights, activations in double, matrices of any element type.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "check.hpp"
#include "half.hpp"
#include "ss1/ss1.hpp"

namespace ss1_test {

inline ss1::context_ptr make_context(const char *max_isa, uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = max_isa;
    options.num_threads = threads;
    return ss1::make_context(options);
}

// The stored weights of a layer; empty parts are not there.
struct problem {
    ss1_linear_desc desc;  // resolved
    size_t kz = 0;
    std::vector<float> z, u, v, bias;

    ss1_linear_weights weights() const {
        const auto data = [](const std::vector<float> &values) { return values.empty() ? nullptr : values.data(); };
        ss1_linear_weights given = SS1_LINEAR_WEIGHTS_INIT;
        given.z = data(z);
        given.bias = data(bias);
        given.u = data(u);
        given.v = data(v);
        return given;
    }
    // The dense weight [N, K] that they stand for.
    std::vector<float> dense() const {
        std::vector<float> weight(desc.N * desc.K);
        const ss1_linear_weights stored = weights();
        ss1::check(ss1_linear_expand(&desc, &stored, weight.data(), 0));
        return weight;
    }
};

inline problem make_problem(ss1_linear_desc desc, seeded &random, bool with_bias = true) {
    problem p;
    ss1::check(ss1_linear_resolve(&desc, &p.kz));
    p.desc = desc;
    p.z.resize(desc.N * p.kz);
    p.u.resize(desc.N * desc.rank);
    p.v.resize(desc.rank * desc.K);
    if (with_bias) p.bias.resize(desc.N);
    for (std::vector<float> *values : {&p.z, &p.u, &p.v, &p.bias})
        for (float &v : *values) v = random.uniform();
    return p;
}

inline ss1::layer_ptr make_layer(const ss1::context_ptr &context, const problem &p) {
    return ss1::make_layer(context, p.desc, p.weights());
}

inline double activate(ss1_activation what, double v) {
    switch (what) {
        case SS1_ACTIVATION_NONE:
            return v;
        case SS1_ACTIVATION_RELU:
            return v > 0 ? v : 0;
        case SS1_ACTIVATION_GELU:
            return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
        case SS1_ACTIVATION_GELU_TANH:
            return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
        case SS1_ACTIVATION_TANH:
            return std::tanh(v);
        case SS1_ACTIVATION_SIGMOID:
            return 1 / (1 + std::exp(-v));
        case SS1_ACTIVATION_SILU:
            return v / (1 + std::exp(-v));
    }
    return NAN;
}

inline const char *name_of(ss1_dtype type) {
    constexpr const char *names[] = {"default", "f32", "bf16", "f16", "i8"};
    return names[type];
}

// Rounds to nearest even. The result must be a normal or denormal f16 number.
inline uint16_t f16_from_f32(float v) {
    const auto sign = static_cast<uint16_t>(std::signbit(v) ? 0x8000 : 0);
    const float magnitude = std::fabs(v);
    if (magnitude < 0x1p-14f) return sign | static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24f));
    const auto bits = std::bit_cast<uint32_t>(magnitude);
    return sign | static_cast<uint16_t>((bits + 0xfff + (bits >> 13 & 1) - 0x38000000u) >> 13);
}

// A guarded matrix of f32, bf16 or f16 values that layers take as bytes and tests as doubles.
class matrix {
  public:
    matrix(ss1_dtype type, size_t rows, size_t columns, size_t ld, guard where = guard::after)
        : type_(type), rows_(rows), columns_(columns) {
        if (type == SS1_DTYPE_F32) {
            wide_.emplace(rows, columns, ld, where);
        } else {
            narrow_.emplace(rows, columns, ld, where);
        }
    }
    float get(size_t i, size_t j) {
        if (wide_) return wide_->at(i, j);
        return type_ == SS1_DTYPE_BF16 ? ss1::bf16_to_f32(narrow_->at(i, j)) : ss1::f16_to_f32(narrow_->at(i, j));
    }
    void set(size_t i, size_t j, float v) {
        if (wide_) {
            wide_->at(i, j) = v;
        } else {
            narrow_->at(i, j) = type_ == SS1_DTYPE_BF16 ? ss1::bf16_from_f32(v) : f16_from_f32(v);
        }
    }
    void set_bits(size_t i, size_t j, uint32_t bits) {
        if (wide_) {
            std::memcpy(&wide_->at(i, j), &bits, sizeof bits);
        } else {
            narrow_->at(i, j) = static_cast<uint16_t>(bits);
        }
    }
    template <class Generator>
    void fill(Generator generate) {
        for (size_t i = 0; i < rows_; ++i)
            for (size_t j = 0; j < columns_; ++j) set(i, j, generate());
    }
    void *data() { return wide_ ? static_cast<void *>(wide_->data()) : narrow_->data(); }
    size_t ld() const { return wide_ ? wide_->ld() : narrow_->ld(); }
    bool intact() { return wide_ ? wide_->intact() : narrow_->intact(); }

  private:
    ss1_dtype type_;
    size_t rows_, columns_;
    std::optional<guarded<float>> wide_;
    std::optional<guarded<uint16_t>> narrow_;
};

}  // namespace ss1_test
