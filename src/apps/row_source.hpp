// SPDX-License-Identifier: Apache-2.0
// Rows of a model from a file: a CSV file, or the lines of a text for a BERT with a tokenizer.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "apps/csv.hpp"
#include "apps/model_rows.hpp"
#include "apps/text_lines.hpp"
#include "apps/text_rows.hpp"

namespace ss1::apps {

// The column of a CSV file that holds the right answer of each row.
struct label_source {
    std::string column;
    std::function<size_t(const csv_reader &, size_t)> number;  // the answer's, of this column; fails if it is none
};

class row_source {
  public:
    // A DLRM reads CSV; a BERT reads token ids from a file that ends with .csv, and texts from any other. `directory`
    // is the model's.
    row_source(const context_handle &context, const model_handle &model, const std::string &directory,
               const std::string &path, const csv_options &csv, row_subset subset = {},
               const std::optional<label_source> &label = {});

    // Replaces the rows by up to `batch` more; false at the end.
    bool read(size_t batch);
    size_t left_out() const { return left_out_; }  // rows of the subset so far that --missing skip left out
    model_rows &rows() { return *rows_; }
    const std::vector<size_t> &labels() const { return labels_; }  // of the rows; empty without a label_source
    size_t max_tokens() const { return texts_ ? texts_->max_tokens() : rows_->max_tokens(); }
    const byte_input &input() const { return lines_ ? lines_->input() : reader_->input(); }

  private:
    row_subset subset_;
    size_t records_ = 0, left_out_ = 0;
    std::optional<label_source> label_;
    size_t label_column_ = 0;
    std::vector<size_t> labels_;
    std::unique_ptr<model_rows> rows_;
    std::optional<csv_reader> reader_;
    std::optional<text_rows> texts_;
    std::optional<text_lines> lines_;
};

}  // namespace ss1::apps
