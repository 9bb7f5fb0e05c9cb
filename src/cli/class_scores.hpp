// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <optional>
#include <vector>

namespace ss1::cli {

// Counts of predicted and true classes, for the accuracy and F1.
class class_scores {
  public:
    explicit class_scores(size_t classes = 0) : counts_(classes) {}
    void add(size_t predicted, size_t label);
    // Empty without rows.
    std::optional<double> accuracy() const;
    // 2 classes: F1 of class 1. More: the mean over the classes that occur, predicted or true (macro), as
    // scikit-learn's f1_score. A class with no true positive has F1 = 0. Empty without rows.
    std::optional<double> f1() const;
    bool is_macro() const { return counts_.size() > 2; }

  private:
    struct count {
        size_t predicted = 0, labelled = 0, both = 0;
        bool occurs() const { return predicted || labelled; }
        double f1() const {
            return occurs() ? 2.0 * static_cast<double>(both) / static_cast<double>(predicted + labelled) : 0;
        }
    };
    std::vector<count> counts_;
    size_t rows_ = 0, right_ = 0;
};

}  // namespace ss1::cli
