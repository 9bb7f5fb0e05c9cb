// SPDX-License-Identifier: Apache-2.0
// The operands of one linear layer in the formats of a precision, and the check of a contender's result.
#pragma once
#include <string>
#include <vector>

#include "driver/arrays.hpp"
#include "peers/peer.h"
#include "ss1/ss1.h"

namespace ss1::bench {

// The types that a --dtype means.
struct precision {
    std::string name;
    ss1_dtype x, y, weight;
    ss1_peer_precision peer;
    double error_bound;  // relative, in the Frobenius norm
};

// Parses "f32", "bf16" or "int8". x and y of int8 layers are bf16, or f32 if `f32_rows`.
precision parse_precision(const std::string &name, bool f32_rows);

// Converts f32 weights [n, k] to the peers' format; s8 is symmetric with one scale per row.
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
    ss1_peer_problem problem(size_t m) const;  // the dense layer; the caller sets output, threads and copies

    precision type;
    size_t k, n;
    array<float> x, weight, bias;  // the type of x can hold its values
    array<uint16_t> x_bf16;
    array<uint8_t> x_u8;
    float x_scale;
    peer_weights dense;
    array<float> y_f32;  // all contenders write to the same memory
    array<uint16_t> y_bf16;
};

// The result of the dense layer with `weight` [n, k] for the first m rows; keeps at most 64 of them, evenly spread.
class expectation {
  public:
    expectation(const linear_data &data, size_t m, const float *weight, ss1_activation activation);
    // The difference of y over the expected result, both in the Frobenius norm. If X and W of these norms give more on
    // average, that average is the divisor: the only value of m = n = 1 may cancel to nearly 0. NaN if any value of y
    // is not finite.
    double error(ss1_peer_output output) const;

  private:
    const linear_data &data_;
    size_t m_;
    std::vector<size_t> rows_;
    array<float> expected_;
    double square_norm_;
};

// Writes NaN to all values that a run of m rows must write.
void spoil_output(const linear_data &data, size_t m);

}  // namespace ss1::bench
