// SPDX-License-Identifier: Apache-2.0
// What a converted model loses beside its original, on rows that the conversion has not seen.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "apps/handles.hpp"
#include "apps/row_source.hpp"
#include "cli/label_scores.hpp"

namespace ss1::cli {

// Scores by the right answers; empty where the model or the labels have none.
struct label_measures {
    std::optional<double> auc, log_loss, accuracy;
};

struct quality {
    size_t rows = 0;
    size_t left_out = 0;   // by --missing skip
    size_t answers = 0;    // distributions that were compared: of rows, of tokens, or two of a text with an answer
    double kl = 0;         // mean of KL(original || converted) in nats
    double agreement = 0;  // share of answers whose likeliest class is the same
    double error = 0;      // mean square of the outputs' difference over the outputs' mean square
    bool has_probabilities = false;  // else kl and agreement are not there
    label_measures before, after;
    double seconds_before = 0, seconds_after = 0;  // of all batches; both models take turns
};

// Rows of a file, and how an original answers them.
class held_out_rows {
  public:
    // `label`: the column of right answers, "" for none. Opens the file: a column that it lacks is an error.
    held_out_rows(const apps::context_handle &context, const apps::model_handle &original, std::string directory,
                  std::string path, const apps::csv_options &csv, apps::row_subset subset, std::string label);

    // Whether the original's outputs are probabilities, and whether those have an AUC beside the labels.
    bool has_probabilities() const;
    bool has_auc() const;

    // Runs both models, batch by batch in turn; calls `each` after each batch. Each batch runs `repeats` times, and its
    // time is the shortest.
    quality compare(const apps::model_handle &converted, size_t repeats, const std::function<void(size_t)> &each) const;

  private:
    const apps::context_handle &context_;
    const apps::model_handle &original_;
    std::string directory_, path_;
    apps::csv_options csv_;
    apps::row_subset subset_;
    std::optional<label_scores> scores_;  // without rows
    std::optional<apps::label_source> label_;
};

}  // namespace ss1::cli
