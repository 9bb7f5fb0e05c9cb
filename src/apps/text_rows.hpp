// SPDX-License-Identifier: Apache-2.0
// Turns lines of text into sequences of ids with a model's tokenizer, within the model's limits.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/bert_rows.hpp"
#include "apps/handles.hpp"
#include "apps/line_batches.hpp"
#include "apps/text_lines.hpp"

namespace ss1::apps {

// The tokens of a line.
struct text_row {
    std::string_view first, second;
    std::span<const int64_t> ids, types;
    std::span<const int64_t> begins, ends;  // bytes of its text that each token comes from
    bool cut;                               // the line has more tokens

    bool in_text(size_t t) const { return ends[t] > 0; }  // not the tokenizer's own [CLS] or [SEP]
};

class text_rows {
  public:
    // `max_tokens` 0: the model's limit.
    text_rows(const context_handle &context, const model_handle &model, const std::string &directory,
              size_t max_tokens);

    // Adds up to `batch` more lines to `rows`, without waiting (line_batches). Returns false at the end.
    bool read(text_lines &lines, size_t batch, bert_rows &rows);
    text_row row(size_t i) const;  // row i of the last read()

    const tokenizer_handle &tokenizer() const { return tokenizer_; }
    size_t max_tokens() const { return max_tokens_; }

  private:
    bool is_cut(const ss1_text &first, const ss1_text *second);

    tokenizer_handle tokenizer_;
    size_t max_tokens_;
    line_batches batches_;
    std::vector<std::string> first_, second_;
    std::vector<int64_t> ids_, types_, begins_, ends_;  // [lines, max_tokens_]
    std::vector<size_t> lengths_;
    std::vector<bool> cut_;
    std::vector<int64_t> longer_ids_;  // scratch of is_cut()
};

}  // namespace ss1::apps
