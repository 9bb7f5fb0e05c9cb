// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ss1::cli {

// Linear between the two nearest samples, as numpy's default; `sorted` must not be empty, 0 <= fraction <= 1.
double percentile(std::span<const double> sorted, double fraction);
double mean(std::span<const double> samples);

// Scores with their labels, for the area under the ROC curve and the log loss. A score is never NaN: it has no rank.
class binary_scores {
  public:
    void add(float probability, bool label) { rows_.push_back({probability, label}); }
    // Exact: ties get midranks. None unless both labels occur.
    std::optional<double> auc() const;
    // None without rows. Probabilities are kept 2^-23 away from 0 and 1, where f32 can no longer tell them apart.
    std::optional<double> log_loss() const;

  private:
    struct row {
        float probability;
        bool label;
    };
    std::vector<row> rows_;
};

}  // namespace ss1::cli
