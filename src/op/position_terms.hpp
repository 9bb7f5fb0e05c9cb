// SPDX-License-Identifier: Apache-2.0
// The attention of DeBERTa (He et al., 2021): the score of a query and a key has two terms more, the products of the
// query and of the key with a row of a table for their distance.
#pragma once
#include "kernels.hpp"

namespace ss1 {

// Adds q_i . keys[c] + k_j . queries[c] to the score of query i and key j, where c is the row for their distance.
struct position_terms {
    // Each head's [rows, head_size], packed as the columns of a matrix, heads `head_stride` floats apart; NULL: the
    // term is left out.
    const float *keys, *queries;
    size_t rows, head_stride;
    // [2 * tokens - 1], never falling: that of query i and key j is element tokens - 1 + j - i. No sequence has more
    // than `tokens` tokens.
    const uint32_t *row_of_distance;
    size_t tokens;
    size_t step;  // the most rows from one distance to the next
    float scale;  // of the sums: 1 / sqrt(head_size * number of terms)
};

// Floats of a head's table.
size_t packed_positions(const gemm_kernel &gemm, size_t rows, size_t head_size) noexcept;

// Queries that are taken together: their products with all keys stay in L2 beside keys and values.
inline constexpr size_t position_queries = 128;

// Up to position_queries queries of a head, and its keys, in rows of ld elements.
struct position_block {
    const gemm_kernel &gemm;
    const position_terms &terms;
    const float *q, *k;
    size_t ld, head_size, head;
    size_t first, m;  // q is that of token `first`
    size_t n;         // keys
    float *scratch;   // position_scratch() floats for n tokens at a multiple of 64 bytes
};
size_t position_scratch(const gemm_kernel &gemm, const position_terms &terms, size_t n) noexcept;

// Multiplies the keys with the rows for their distances from these queries; add_positions() reads the products.
void multiply_keys(const position_block &b) noexcept;

// Adds the terms to the scores [m, n] of queries i to i + m of the block, at most gemm.mr.
void add_positions(const position_block &b, size_t i, size_t m, float *scores, size_t lds) noexcept;

}  // namespace ss1
