// SPDX-License-Identifier: Apache-2.0
// Embeddings: bags of table rows (DLRM) and the sum of word, position and type (BERT).
#pragma once
#include <span>
#include <string>

#include "context.hpp"
#include "status.hpp"

namespace ss1 {

// What the kernel needs to know of a table is set once, in `args`: rows, format, pooling.
struct embedding_table {
    std::string name;
    const bag_kernel *kernel = nullptr;
    bag_args args{};
    buffer memory;  // of the rows, unless they lie in a mapped file or a shared array
};

// Bag (t, b) is indices[offsets[t*batch + b] .. the next offset), the last one ends at `total`; its sum (or mean) goes
// to y[b*ldy + t*d .. + d). weights[p] belongs to indices[p]; NULL: all 1.
struct bag_batch {
    std::span<const embedding_table> tables;
    const int64_t *indices, *offsets;
    const float *weights;
    size_t total, batch, d;
    float *y;
    size_t ldy;
    bool checked = true;  // false: the caller knows that all offsets and indices are right
};

// Sums all bags. No table is read by an index that is not checked. @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT naming
// the first bad offset or index, y is then undefined.
ss1_status sum_bags(const ss1_context &context, const bag_batch &bags);

// The same in parts, on the calling thread: bags [b0, b1) of table t. False where one is bad; report_bags() says which,
// the first of all of them.
bool sum_block(const bag_batch &bags, size_t t, size_t b0, size_t b1) noexcept;
ss1_status report_bags(const bag_batch &bags);

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
