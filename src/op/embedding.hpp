// SPDX-License-Identifier: Apache-2.0
// Embeddings: bags of table rows (DLRM) and the sum of word, position and type (BERT).
#pragma once
#include <span>
#include <string>

#include "base/context.hpp"
#include "base/row_gate.hpp"
#include "base/status.hpp"
#include "io/file.hpp"
#include "op/sequences.hpp"
#include "op/split.hpp"

namespace ss1 {

// `args` holds the table's rows, format and pooling, which never change.
struct embedding_table {
    std::string name;
    size_t number = 0;  // index among all tables of the model
    const bag_kernel *kernel = nullptr;
    bag_args args{};
    buffer memory;                    // holds the rows,
    file_mapping *mapping = nullptr;  // or this file does, or a shared array
};

// Bag (t, b) is indices[offsets[t*batch + b] .. the next offset), the last one ends at `total`. weights[p] belongs to
// indices[p]; NULL: all 1.
struct bag_batch {
    std::span<const embedding_table> tables;
    const int64_t *indices, *offsets;
    const float *weights;
    size_t total, batch, d;
    const char *prefix;        // of "indices" and "offsets" in messages
    bool checked = true;       // false: the caller knows that all offsets and indices are right
    row_gate *gate = nullptr;  // of tables whose rows may change meanwhile
};

// Sums the bags of rows [b0, b1), or takes their means: writes that of table t and row b to
// y[(b - b0)*ldy + tables[t].number*d .. + d). Checks every index before it reads a table with it. @return false if an
// offset or an index is bad: y is then undefined, and find_bad_bag() finds it.
bool sum_bags(const team &who, const bag_batch &bags, size_t b0, size_t b1, float *y, size_t ldy);

// Fails with SS1_ERROR_INVALID_ARGUMENT and names the first bad offset or, if there is none, the first bad index of all
// rows: the message does not depend on the cut.
ss1_status find_bad_bag(const bag_batch &bags);

// y[row of token t of sequence s, :] = norm(word[ids[s,t]] + type[types[s,t]] + position[p(s,t)]) for [batch, tokens]
// checked ids; types NULL: all 0; type or position NULL: none is added. p(s,t) = t where padding < 0, else RoBERTa's
// position: `padding` for ids that are `padding`, padding + 1 + (tokens before it that are not) for the others.
struct token_batch {
    const float *word, *position, *type;
    const int64_t *ids, *types;
    size_t tokens;
    std::span<const sequence> sequences;
    int64_t padding;
};
// `norm` has gamma, beta, y, m, n and eps.
void embed_tokens(const team &who, const norm_kernel &kernel, const token_batch &batch, const norm_args &norm);

}  // namespace ss1
