// SPDX-License-Identifier: Apache-2.0
// Token sequences for BERT, read from CSV columns, made by a tokenizer or drawn at random.
#pragma once
#include <optional>
#include <random>
#include <vector>

#include "apps/csv.hpp"
#include "apps/model_rows.hpp"

namespace ss1::apps {

class bert_rows final : public model_rows {
  public:
    explicit bert_rows(const ss1_model_info &model);

    // The columns are input_ids and, if the file has it, token_type_ids: whole numbers with blanks between them.
    // Refuses another --missing than error.
    void bind(const csv_reader &reader, const std::string &directory) override;
    bool add(const csv_reader &reader) override;
    void add_random(std::mt19937_64 &random, size_t tokens) override;
    // Adds a sequence that a tokenizer has made; drops the types if the model takes none.
    void add(std::vector<int64_t> ids, std::vector<int64_t> types);
    void clear() override;
    size_t size() const override { return sequences_.size(); }
    size_t max_tokens() const override { return max_tokens_; }
    size_t tokens(size_t i) const override { return sequences_[i].ids.size(); }
    void add(const bert_rows &other, size_t i) { sequences_.push_back(other.sequences_[i]); }
    size_t longest() const;  // tokens of the longest sequence
    // One run. Sequences are padded to the longest and masked: no result depends on the other sequences.
    const std::vector<model_run> &runs() override;

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
