// SPDX-License-Identifier: Apache-2.0
// Embeddings: bags of table rows (DLRM) and the sum of word, position and type (BERT).
#pragma once
#include <span>
#include <string>

#include "context.hpp"
#include "status.hpp"

namespace ss1 {

struct embedding_table {
    std::string name;
    size_t number = 0;  // among all tables of the model
    size_t rows = 0;
    buffer weights;  // [rows, d]
};

// Bag (t, b) is indices[offsets[t*batch + b] .. the next offset), the last one ends at `total`.
struct bag_batch {
    std::span<const embedding_table> tables;
    const int64_t *indices, *offsets;
    size_t total, batch, d;
    const char *prefix;  // of "indices" and "offsets" in messages
};

// Sums the bags of rows [b0, b1): that of table t and row b goes to y[(b - b0)*ldy + tables[t].number*d .. + d). No
// table is read by an index that is not checked: each block of bags is checked, then summed while its indices are in
// the cache. @return false if an offset or an index is bad, y is then undefined and find_bad_bag() says which.
bool sum_bags(const ss1_context &context, const bag_kernel &kernel, const bag_batch &bags, size_t b0, size_t b1,
              float *y, size_t ldy);
// The same on the calling thread.
bool sum_bags_here(const bag_kernel &kernel, const bag_batch &bags, size_t b0, size_t b1, float *y,
                   size_t ldy) noexcept;

// SS1_ERROR_INVALID_ARGUMENT naming the first bad offset or, if there is none, the first bad index of all rows: the
// message does not depend on how they were cut.
ss1_status find_bad_bag(const bag_batch &bags);

// y[s*tokens + t, :] = norm(word[ids[s,t]] + type[types[s,t]] + position[t]) for [batch, tokens] checked ids; types
// NULL: all 0.
struct token_batch {
    const float *word, *position, *type;
    const int64_t *ids, *types;
    size_t batch, tokens;
};
// `norm` brings gamma, beta, y, n and eps.
void embed_tokens(const ss1_context &context, const norm_kernel &kernel, const token_batch &batch,
                  const norm_args &norm);

}  // namespace ss1
