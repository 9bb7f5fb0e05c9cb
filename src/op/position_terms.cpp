// SPDX-License-Identifier: Apache-2.0
// A panel of queries is multiplied with the rows for its distances from all keys, a panel of keys with those for its
// distances from the queries of a block: each product is a band as long as one side and as wide as the other, and the
// scores take an element of each. So time is about that of the two products of plain attention, and memory grows with
// the keys, not with their square.
#include "op/position_terms.hpp"

#include <algorithm>

#include "base/round.hpp"
#include "op/pack.hpp"

namespace ss1 {
namespace {

// Rows of the table, from a packed tile on.
struct row_span {
    size_t first, count;
};

// The rows for keys that are `least` to `most` tokens after a query; both may be negative.
row_span rows_for(const position_block &b, ptrdiff_t least, ptrdiff_t most) noexcept {
    const uint32_t *row = b.terms.row_of_distance + b.terms.tokens - 1;
    const size_t first = row[least] / b.gemm.nt * b.gemm.nt;
    return {first, row[most] + 1 - first};
}

ptrdiff_t distance(size_t query, size_t key) noexcept {
    return static_cast<ptrdiff_t>(key) - static_cast<ptrdiff_t>(query);
}

// Floats between products that have at most `distances` different distances, and begin at a tile.
size_t stride(const gemm_kernel &gemm, const position_terms &terms, size_t distances) noexcept {
    return round_up(std::min(distances * terms.step, terms.rows) + gemm.nt, 16) + 16;
}

size_t query_stride(const gemm_kernel &gemm, const position_terms &terms, size_t n) noexcept {
    return stride(gemm, terms, n + gemm.mr);
}

size_t key_stride(const gemm_kernel &gemm, const position_terms &terms) noexcept {
    return stride(gemm, terms, position_queries + gemm.mr);
}

// Runs f(j, count) for panels of keys of about equal height.
template <class F>
void for_key_panels(const position_block &b, F &&f) {
    const size_t panels = ceil_div(b.n, b.gemm.mr);
    for (size_t p = 0; p < panels; ++p) f(b.n * p / panels, b.n * (p + 1) / panels - b.n * p / panels);
}

row_span rows_for_keys(const position_block &b, size_t j, size_t count) noexcept {
    return rows_for(b, distance(b.first + b.m - 1, j), distance(b.first, j + count - 1));
}

float *key_products(const position_block &b) noexcept {
    return b.scratch + round_up(b.gemm.mr * query_stride(b.gemm, b.terms, b.n), 16);
}

void multiply(const position_block &b, const float *x, size_t m, const float *table, row_span rows, float *y,
              size_t ldy) noexcept {
    multiply_packed(b.gemm, x, b.ld, table + b.head * b.terms.head_stride + rows.first * b.head_size,
                    b.head_size * b.gemm.nt, nullptr, y, ldy, m, rows.count, b.head_size);
}

}  // namespace

size_t packed_positions(const gemm_kernel &gemm, size_t rows, size_t head_size) noexcept {
    return round_up(round_up(rows, gemm.nt) * head_size, 16);
}

size_t position_scratch(const gemm_kernel &gemm, const position_terms &terms, size_t n) noexcept {
    return round_up(gemm.mr * query_stride(gemm, terms, n), 16) + round_up(n * key_stride(gemm, terms), 16);
}

void multiply_keys(const position_block &b) noexcept {
    if (!b.terms.queries) return;
    const size_t ld = key_stride(b.gemm, b.terms);
    for_key_panels(b, [&](size_t j, size_t count) {
        multiply(b, b.k + j * b.ld, count, b.terms.queries, rows_for_keys(b, j, count), key_products(b) + j * ld, ld);
    });
}

void add_positions(const position_block &b, size_t i, size_t m, float *scores, size_t lds) noexcept {
    const uint32_t *row_of = b.terms.row_of_distance + b.terms.tokens - 1 - (b.first + i);
    if (b.terms.keys) {
        const size_t ld = query_stride(b.gemm, b.terms, b.n), token = b.first + i;
        const row_span rows = rows_for(b, distance(token + m - 1, 0), distance(token, b.n - 1));
        multiply(b, b.q + i * b.ld, m, b.terms.keys, rows, b.scratch, ld);
        for (size_t r = 0; r < m; ++r)
            for (size_t j = 0; j < b.n; ++j) scores[r * lds + j] += b.scratch[r * ld + (row_of - r)[j] - rows.first];
    }
    if (!b.terms.queries) return;
    const size_t ld = key_stride(b.gemm, b.terms);
    for_key_panels(b, [&](size_t begin, size_t count) {
        const float *products = key_products(b);
        const size_t first = rows_for_keys(b, begin, count).first;
        for (size_t r = 0; r < m; ++r)
            for (size_t j = begin; j < begin + count; ++j)
                scores[r * lds + j] += products[j * ld + (row_of - r)[j] - first];
    });
}

}  // namespace ss1
