// SPDX-License-Identifier: Apache-2.0
// A batch of sequences whose tokens lie packed, one row each, without padding between them.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>

namespace ss1 {

struct sequence {
    size_t first, length;  // rows
    const float *mask;     // [length] added to the scores of each key: 0 or masked_key; NULL: all 0
};

// Hugging Face's value. It absorbs any score that is added, and is finite: exp(masked_key - masked_key) = 1.
inline constexpr float masked_key = -3.402823466e38f;

// Runs f(s, t, row) for the rows [begin, end), which are token t of sequence s.
template <class F>
void for_rows(std::span<const sequence> sequences, size_t begin, size_t end, F &&f) {
    auto s = std::upper_bound(sequences.begin(), sequences.end(), begin,
                              [](size_t row, const sequence &of) { return row < of.first; });
    size_t i = static_cast<size_t>(s - sequences.begin()) - 1;
    for (size_t row = begin; row < end; ++row) {
        if (row == sequences[i].first + sequences[i].length) ++i;
        f(i, row - sequences[i].first, row);
    }
}

}  // namespace ss1
