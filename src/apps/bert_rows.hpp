// SPDX-License-Identifier: Apache-2.0
// A batch of token sequences for BERT, filled row by row from CSV columns, a tokenizer or at random.
#pragma once
#include <optional>
#include <random>
#include <vector>

#include "apps/csv.hpp"
#include "apps/model_rows.hpp"

namespace ss1::apps {

class bert_rows {
  public:
    static constexpr size_t default_batch = 8;

    explicit bert_rows(const ss1_model_info &model);

    // Finds the columns input_ids and, if it is there, token_type_ids: whole numbers with blanks between them.
    void bind(const csv_reader &reader);
    void add(const csv_reader &reader);
    void add_random(std::mt19937_64 &random, size_t tokens);
    // As a tokenizer makes them; types are left out for a model that takes none.
    void add(std::vector<int64_t> ids, std::vector<int64_t> types);
    void clear();
    size_t size() const { return sequences_.size(); }
    size_t max_tokens() const { return max_tokens_; }
    const std::vector<int64_t> &ids(size_t i) const { return sequences_[i].ids; }
    void add(const bert_rows &other, size_t i) { sequences_.push_back(other.sequences_[i]); }
    size_t longest() const;  // tokens of a sequence
    // The session run that gives the rows' outputs; it points into this object. Sequences are padded to the longest,
    // and masked: none's result depends on its neighbours.
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
    std::vector<int64_t> padded_ids_, padded_types_, mask_;
    std::vector<model_run> runs_;
};

}  // namespace ss1::apps
