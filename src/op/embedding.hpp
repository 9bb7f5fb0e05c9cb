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
    size_t rows = 0;
    buffer weights;  // [rows, d]
};

// Bag (t, b) is indices[offsets[t*batch + b] .. the next offset), the last one ends at `total`; its sum goes to
// y[b*ldy + t*d .. + d).
struct bag_batch {
    std::span<const embedding_table> tables;
    const int64_t *indices, *offsets;
    size_t total, batch, d;
    float *y;
    size_t ldy;
};

// Sums all bags. No table is read by an index that is not checked: each block of bags is checked, then summed while its
// indices are in the cache. @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT naming the first bad offset or index, y is then
// undefined.
ss1_status sum_bags(const ss1_context &context, const bag_kernel &kernel, const bag_batch &bags);

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
