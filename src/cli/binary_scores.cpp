// SPDX-License-Identifier: Apache-2.0
#include "cli/binary_scores.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace ss1::cli {

std::optional<double> binary_scores::auc() const {
    std::vector<row> sorted = rows_;
    std::ranges::sort(sorted, {}, &row::probability);
    // Ranks are doubled so that midranks stay whole numbers.
    uint64_t positives = 0, doubled_rank_sum = 0;
    for (size_t begin = 0, end; begin < sorted.size(); begin = end) {
        uint64_t tied_positives = 0;
        for (end = begin; end < sorted.size() && sorted[end].probability == sorted[begin].probability; ++end)
            tied_positives += sorted[end].label;
        positives += tied_positives;
        doubled_rank_sum += tied_positives * (begin + 1 + end);
    }
    const uint64_t negatives = sorted.size() - positives;
    if (positives == 0 || negatives == 0) return std::nullopt;
    const uint64_t doubled_wins = doubled_rank_sum - positives * (positives + 1);
    return static_cast<double>(doubled_wins) / (2.0 * static_cast<double>(positives) * static_cast<double>(negatives));
}

std::optional<double> binary_scores::log_loss() const {
    if (rows_.empty()) return std::nullopt;
    double sum = 0;
    for (const row &r : rows_) {
        const double p = std::clamp<double>(r.probability, FLT_EPSILON, 1 - FLT_EPSILON);
        sum -= std::log(r.label ? p : 1 - p);
    }
    return sum / static_cast<double>(rows_.size());
}

}  // namespace ss1::cli
