// SPDX-License-Identifier: Apache-2.0
// A batch of DLRM inputs, filled row by row from CSV columns or at random.
#pragma once
#include <random>
#include <string>
#include <vector>

#include "apps/csv.hpp"
#include "apps/model_rows.hpp"

namespace ss1::apps {

class dlrm_rows {
  public:
    static constexpr size_t default_batch = 256;

    explicit dlrm_rows(const ss1_model_info &model);

    // Finds the model's columns: one number for each dense feature, indices with | between them for each table.
    void bind(const csv_reader &reader);
    // A row that fails may leave its first columns behind, which runs() leaves out: it must be the last.
    void add(const csv_reader &reader);
    void add_random(std::mt19937_64 &random, size_t tokens);
    void clear();
    size_t size() const { return rows_; }
    size_t max_tokens() const { return 1; }
    // From now on the first row's dense features and user's tables stand for all rows, and are given once.
    void share_user() { one_user_ = true; }
    bool one_user() const { return one_user_; }
    // The session runs that give the rows' outputs; they point into this object.
    const std::vector<model_run> &runs();

  private:
    struct table {
        std::string name;
        int64_t rows;
        bool user_side;
        size_t column = 0;
        std::vector<int64_t> indices, begins;  // of this batch
    };

    // The first rows' bags of the tables of one side, as the model takes them.
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
