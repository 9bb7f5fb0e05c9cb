// SPDX-License-Identifier: Apache-2.0
// --label: what the outputs of a model are worth on rows whose labels are known.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/csv.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "cli/binary_scores.hpp"
#include "cli/class_scores.hpp"

namespace ss1::cli {

class label_scores {
  public:
    // A model with a probability takes the labels 0 and 1; a classifier of rows its labels' names or numbers. Fails for
    // other models.
    explicit label_scores(const apps::model_handle &model);

    // The number of the label that `text` names, blanks around it aside.
    std::optional<size_t> parse(std::string_view text) const;
    // What parse() takes, for messages: "0 or 1".
    const std::string &rule() const { return rule_; }

    // The same of a field of a CSV file; fails if it names none.
    size_t number(const apps::csv_reader &reader, size_t column) const;

    // Adds a batch: outputs [labels, width]. `before`: rows of earlier batches, for messages.
    void add(std::span<const float> outputs, std::span<const size_t> labels, size_t before);

    // Empty where the labels or the model have none: a probability has AUC and log loss, classes the accuracy.
    std::optional<double> auc() const { return binary_.auc(); }
    std::optional<double> log_loss() const { return binary_.log_loss(); }
    std::optional<double> accuracy() const { return multiple_.accuracy(); }

    // "AUC 0.5, log loss 0.7", and the same as members of a summary.
    std::string text() const;
    void add_to(apps::json &summary) const;

  private:
    std::vector<std::string> classes_;  // empty: the model gives a probability
    std::string rule_;
    binary_scores binary_;
    class_scores multiple_;
};

}  // namespace ss1::cli
