// SPDX-License-Identifier: Apache-2.0
// Inputs of a DLRM, read from CSV columns or drawn at random.
#pragma once
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "apps/csv.hpp"
#include "apps/model_rows.hpp"

namespace ss1::apps {

class dlrm_rows final : public model_rows {
  public:
    explicit dlrm_rows(const ss1_model_info &model);

    // The columns: for each dense feature a number, for each table indices with | between them.
    void bind(const csv_reader &reader) override;
    // If add() fails, the row's first columns stay, and runs() ignores them: the caller must add no further row.
    void add(const csv_reader &reader) override;
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
        int64_t rows;
        bool user_side;
        size_t column = 0;
        std::vector<int64_t> indices, begins;  // the bags of this batch
    };

    // The bags of the tables of one side in the model's format.
    struct bags {
        std::vector<int64_t> indices, offsets;
    };

    void add_bag(const csv_reader &reader, table &bag);
    void collect(bool user_side, size_t rows, bags &out) const;

    std::vector<std::string> features_;
    std::vector<size_t> feature_columns_;
    std::vector<table> tables_;
    std::vector<float> dense_;
    bags item_bags_, user_bags_;
    std::vector<model_run> runs_;
    size_t rows_ = 0;
    bool one_user_ = false;
};

}  // namespace ss1::apps
