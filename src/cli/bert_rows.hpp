// SPDX-License-Identifier: Apache-2.0
// A batch of token sequences for BERT, filled row by row from CSV columns or at random.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <vector>

#include "csv.hpp"
#include "model_rows.hpp"

namespace ss1::cli {

class bert_rows {
  public:
    static constexpr size_t default_batch = 8;

    explicit bert_rows(const nlohmann::json &config);

    // Finds the columns input_ids and, if it is there, token_type_ids: whole numbers with blanks between them.
    void bind(const csv_reader &reader);
    void add(const csv_reader &reader);
    void add_random(std::mt19937_64 &random, size_t tokens);
    void clear();
    size_t size() const { return sequences_.size(); }
    size_t max_tokens() const { return max_tokens_; }
    // The session runs that give the rows' outputs; they point into this object. Sequences of one length share a run,
    // so that none is padded and none's result depends on its neighbours.
    const std::vector<model_run> &runs();

  private:
    struct sequence {
        std::vector<int64_t> ids, types;
    };

    static std::vector<int64_t> parse_tokens(const csv_reader &reader, size_t column, int64_t limit);

    int64_t vocabulary_, types_;
    size_t max_tokens_;
    size_t ids_column_ = 0;
    std::optional<size_t> types_column_;
    std::vector<sequence> sequences_;
    std::vector<sequence> packed_;  // of one length each, end to end
    std::vector<model_run> runs_;
};

}  // namespace ss1::cli
