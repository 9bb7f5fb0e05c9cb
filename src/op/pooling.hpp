// SPDX-License-Identifier: Apache-2.0
// Pools the rows of each sequence into one vector, as sentence-transformers does.
#pragma once
#include <cstdint>
#include <span>

#include "op/sequences.hpp"
#include "op/split.hpp"

namespace ss1 {

enum class pooling_mode { cls, max, mean, mean_sqrt_len, weighted_mean, last };

// y[s] is the concatenation of all modes over the tokens h_1 .. h_n that sequence s lets see, without its first
// skip[s]:
//   cls            row 0, always            mean_sqrt_len  sum h_i / sqrt(n)
//   max            by element               weighted_mean  sum i h_i / sum i, i from 1 with the tokens left out
//   mean           sum h_i / n              last           the last of them
// cls takes the sequence's own first row, whatever the mask and skip[s] are. All sums are f32, in the order of the
// tokens. Without a token y[s] is 0. NaN in a pooled row arrives in y[s].
struct pool_args {
    const float *rows;  // [rows, width], packed
    size_t width;
    std::span<const sequence> sequences;
    std::span<const pooling_mode> modes;
    const int64_t *skip;  // [sequences], or NULL: none
    float *y;             // [sequences, modes * width]
};
void pool(const team &who, const pool_args &args);

enum class word_pooling { none, max, sum };

// SPLADE: adds the scores of words of some rows to the vectors of their sequences, [sequences, words], which begin with
// 0 and which finish_words() ends: y = max or sum over the tokens of log(1 + max(x, 0)), log1p once more if `twice`. Of
// the maximum the logarithm is taken at the end alone: it grows with x.
struct word_args {
    const float *scores;        // [rows, words]
    size_t words, begin, rows;  // packed rows from `begin` on
    std::span<const sequence> sequences;
    word_pooling mode;
    bool twice;
    float *y;
};
void pool_words(const team &who, const word_args &args);
void finish_words(const team &who, const word_args &args);

// x / max(|x|, 1e-12) for m rows of n values, in place.
void scale_to_length_one(float *x, size_t m, size_t n) noexcept;

}  // namespace ss1
