// SPDX-License-Identifier: Apache-2.0
// Lines of text to sequences of ids: a model's tokenizer with the model's limits.
#pragma once
#include <string>
#include <vector>

#include "bert_rows.hpp"
#include "cli.hpp"
#include "text_lines.hpp"

namespace ss1::cli {

using tokenizer_handle = std::unique_ptr<ss1_tokenizer, destroy_with<ss1_tokenizer_destroy>>;

class text_rows {
  public:
    // `max_tokens` 0: as many as the model takes.
    text_rows(const context_handle &context, const model_handle &model, const std::string &directory, size_t max_tokens,
              bool pairs);

    // Up to `batch` more lines as rows. False when there are none.
    bool read(text_lines &lines, size_t batch, bert_rows &rows);

    const tokenizer_handle &tokenizer() const { return tokenizer_; }
    size_t max_tokens() const { return max_tokens_; }

  private:
    tokenizer_handle tokenizer_;
    size_t max_tokens_;
    bool pairs_;
    std::vector<std::string> first_, second_;
    std::vector<int64_t> ids_, types_;
};

}  // namespace ss1::cli
