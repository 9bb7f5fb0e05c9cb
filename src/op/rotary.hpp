// SPDX-License-Identifier: Apache-2.0
// Rotary positions: elements k and k + size / 2 of a head turn as a pair, by an angle that grows with the token's
// place.
#pragma once
#include <span>

#include "op/sequences.hpp"
#include "op/split.hpp"

namespace ss1 {

// Writes table [tokens, size]: for each position p the cosines of all size / 2 angles, then their sines. Angle k is
// p * (theta * factor)^(-2k / size) / factor^(2 / size), computed in f32 as PyTorch does; a factor of 1 changes
// nothing.
void make_rotary_table(double theta, double factor, size_t tokens, size_t size, float *table) noexcept;

// Turns the first `size` of the head_size elements of each of `heads` heads in a row, in place:
// (a, b) becomes (a cos - b sin, b cos + a sin). The bits of a row depend on nothing but itself and its position.
struct rotary_args {
    void *rows;  // row `first` of the batch; f32 or bf16, ld elements apart
    dtype type;
    size_t first, m, heads, head_size, ld;
    std::span<const sequence> sequences;
    const float *table;
    size_t size;
    const store_kernel *round;  // to bf16
};
void rotate(const team &who, const rotary_args &args);

}  // namespace ss1
