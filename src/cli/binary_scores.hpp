// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace ss1::cli {

// Scores with their labels, for the area under the ROC curve and the log loss. A score must not be NaN: NaN has no
// rank.
class binary_scores {
  public:
    void add(float probability, bool label) { rows_.push_back({probability, label}); }
    // Exact: ties get midranks. Empty unless both labels occur.
    std::optional<double> auc() const;
    // Empty without rows. Probabilities are kept 2^-23 away from 0 and 1, where f32 can no longer distinguish them.
    std::optional<double> log_loss() const;

  private:
    struct row {
        float probability;
        bool label;
    };
    std::vector<row> rows_;
};

}  // namespace ss1::cli
