// SPDX-License-Identifier: Apache-2.0
// Inputs of a DLRM, read from CSV columns or drawn at random.
#pragma once
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "apps/csv.hpp"
#include "apps/model_rows.hpp"
#include "apps/table_ids.hpp"

namespace ss1::apps {

class dlrm_rows final : public model_rows {
  public:
    explicit dlrm_rows(const ss1_model_info &model);

    // The columns: for each dense feature a number, for each table indices or ids (table_ids) with | between them.
    // Reads the vocabularies in `directory`. Refuses --missing mean if config.json has no means.
    void bind(const csv_reader &reader, const std::string &directory) override;
    // If add() fails, the row's first columns stay, and runs() ignores them: the caller must add no further row.
    // Returns false for a row that --missing skip leaves out; its other fields are checked as those of any row.
    bool add(const csv_reader &reader) override;
    void add_random(std::mt19937_64 &random, size_t tokens) override;
    void clear() override;
    size_t size() const override { return rows_; }
    size_t max_tokens() const override { return 1; }
    size_t tokens(size_t) const override { return 1; }
    // The runs then contain the dense features and the user's tables once, those of the first row.
    void share_user() override { one_user_ = true; }
    size_t users() const override { return one_user_ ? std::min<size_t>(rows_, 1) : rows_; }
    const std::vector<model_run> &runs() override;

  private:
    struct table {
        std::string name;
        table_ids ids;
        bool user_side;
        size_t column = 0;
        std::vector<int64_t> indices, begins;  // the bags of this batch
    };

    // The bags of the tables of one side in the model's format.
    struct bags {
        std::vector<int64_t> indices, offsets;
    };

    // Returns whether all features have values.
    bool add_features(const csv_reader &reader);
    void remove_last();
    void add_bag(const csv_reader &reader, table &bag);
    void collect(bool user_side, size_t rows, bags &out) const;

    std::vector<std::string> features_;
    std::vector<float> means_;  // of the features; empty: config.json has none
    std::vector<size_t> feature_columns_;
    std::vector<table> tables_;
    std::vector<float> dense_;
    bags item_bags_, user_bags_;
    std::vector<model_run> runs_;
    size_t rows_ = 0;
    bool one_user_ = false;
};

}  // namespace ss1::apps
