// SPDX-License-Identifier: Apache-2.0
// The operands of one linear layer in the formats of a precision, and the check of what a contender made of them.
#pragma once
#include <string>
#include <vector>

#include "driver/arrays.hpp"
#include "peers/peer.h"
#include "ss1/ss1.h"

namespace ss1::bench {

// What --dtype stands for.
struct precision {
    std::string name;
    ss1_dtype x, y, weight;
    ss1_peer_precision peer;
    double error_bound;  // relative, in the Frobenius norm
};

// "f32", "bf16" or "int8"; int8 layers take and give bf16, or f32 if `f32_rows`.
precision parse_precision(const std::string &name, bool f32_rows);

// f32 weights [n, k] in the format that peers take them in: one scale a row of them, symmetric, for s8.
struct peer_weights {
    peer_weights(const float *weights, size_t n, size_t k, ss1_peer_precision format);
    const void *data() const;
    size_t item_bytes() const;

    ss1_peer_precision format;
    const float *f32;  // must live as long as this
    array<uint16_t> bf16;
    array<int8_t> s8;
    array<float> scales;
};

struct linear_data {
    linear_data(size_t k_, size_t n_, size_t max_m, const precision &type);

    const void *layer_x() const;
    void *layer_y() const;
    const void *peer_x() const;
    void *peer_y(ss1_peer_output output) const;
    ss1_peer_problem problem(size_t m) const;  // of the dense layer; output, threads and copies are to be set

    precision type;
    size_t k, n;
    array<float> x, weight, bias;  // x has values that its type can hold
    array<uint16_t> x_bf16;
    array<uint8_t> x_u8;
    float x_scale;
    peer_weights dense;
    array<float> y_f32;  // all contenders write to the same place
    array<uint16_t> y_bf16;
};

// What the dense layer with `weight` [n, k] gives for the first m rows; kept for at most 64 rows spread over them.
class expectation {
  public:
    expectation(const linear_data &data, size_t m, const float *weight, ss1_activation activation);
    // Relative difference of y in the Frobenius norm: to that of what is expected, or of what X and W of these norms
    // give on average where that is more (the one value of m = n = 1 may cancel to nearly 0). NaN if any value of y, in
    // any row, is not finite.
    double error(ss1_peer_output output) const;

  private:
    const linear_data &data_;
    size_t m_;
    std::vector<size_t> rows_;
    array<float> expected_;
    double square_norm_;
};

// NaN wherever a run of m rows must write.
void spoil_output(const linear_data &data, size_t m);

}  // namespace ss1::bench
