// SPDX-License-Identifier: Apache-2.0
// The rows of a run: tokens of all sequences one after the other, without the padding. It needs no device.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/round.hpp"
#include "op/sequences.hpp"

namespace ss1::cuda {

// Runs of at most this many rows are replayed as graphs: beyond, the launches of kernels take less time than they do.
inline constexpr size_t most_graph_rows = 4096;

// The number of rows that a run of `rows` rows computes: those of graphs are rounded up, so that a few graphs serve all
// lengths.
constexpr size_t bucket_of(size_t rows) {
    const size_t step = rows <= 256 ? 16 : rows <= 1024 ? 64 : 256;
    return rows > most_graph_rows ? rows : round_up(rows, step);
}

struct token_batch {
    const int64_t *ids, *mask, *types;  // [batch, tokens]; mask and types may be NULL
    size_t batch, tokens;
    int64_t padding;  // RoBERTa counts positions of tokens that are not this id, from padding + 1 on; below 0: no
};

struct packed_rows {
    int *ids, *positions, *types;  // [bucket]
    int *starts;                   // [batch + 1]
    float *mask;                   // [bucket]
    size_t rows, longest;
    bool hides;  // a key of `mask` is hidden
};

// The rows of a sequence: a mask of ones, then zeros is a length; any other mask keeps all tokens.
inline size_t length_of(const int64_t *mask, size_t tokens, bool &hides) {
    hides = false;
    if (!mask) return tokens;
    const size_t ones = static_cast<size_t>(std::find(mask, mask + tokens, 0) - mask);
    hides = ones == 0 || std::find(mask + ones, mask + tokens, 1) != mask + tokens;
    return hides ? tokens : ones;
}

// Fills in all of `to`; rows behind the last sequence, up to their bucket, are token 0 at position 0.
inline void pack_rows(const token_batch &from, packed_rows &to) {
    to.rows = to.longest = 0;
    to.hides = false;
    for (size_t b = 0; b < from.batch; ++b) {
        const size_t at = b * from.tokens;
        bool hides;
        const size_t length = length_of(from.mask ? from.mask + at : nullptr, from.tokens, hides);
        to.starts[b] = static_cast<int>(to.rows);
        int64_t counted = from.padding;
        for (size_t t = 0; t < length; ++t, ++to.rows) {
            const int64_t id = from.ids[at + t];
            const bool pads = from.padding >= 0 && id == from.padding;
            to.ids[to.rows] = static_cast<int>(id);
            to.positions[to.rows] = static_cast<int>(from.padding < 0 ? static_cast<int64_t>(t)
                                                     : pads           ? id
                                                                      : ++counted);
            to.types[to.rows] = from.types ? static_cast<int>(from.types[at + t]) : 0;
            to.mask[to.rows] = hides && !from.mask[at + t] ? masked_key : 0;
        }
        to.longest = std::max(to.longest, length);
        to.hides |= hides;
    }
    to.starts[from.batch] = static_cast<int>(to.rows);
    for (size_t i = to.rows; i < bucket_of(to.rows); ++i) {
        to.ids[i] = to.positions[i] = to.types[i] = 0;
        to.mask[i] = 0;
    }
}

}  // namespace ss1::cuda
