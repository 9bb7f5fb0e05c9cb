// SPDX-License-Identifier: Apache-2.0
// The answer of a BERT to each text of a batch, as a JSON object: labels with scores for the text or its words, tokens
// for [MASK], the part of a context that answers a question, or a vector.
#pragma once
#include <string>
#include <vector>

#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "apps/text_rows.hpp"

namespace ss1::apps {

class text_answers {
  public:
    // `pairs`: whether the user gives pairs of texts.
    text_answers(const model_handle &model, const ss1_tokenizer *tokenizer, bool pairs);

    // What a line must be: a tab without --pairs would silently become a blank inside one text.
    text_lines::kind line_kind() const {
        const bool may_pair = kind_ != kind::word_labels;
        return pairs_ ? text_lines::kind::pairs : may_pair ? text_lines::kind::texts_alone : text_lines::kind::any_text;
    }
    // Whether the answers are sentence embeddings.
    bool embeds() const { return names_[0] == "sentence_embedding"; }
    // The outputs to request from a run of `batch` sequences of `tokens`. This object owns their memory.
    std::vector<ss1_tensor> outputs(size_t batch, size_t tokens);
    // The answer to sequence i, after the run.
    json answer(size_t i, const text_row &row) const;

  private:
    enum class kind { one_label, any_labels, value, word_labels, masked_tokens, part_of_context, vector };

    kind kind_of(const model_handle &model, size_t rank) const;
    json of_kind(size_t i, const text_row &row) const;
    json one_label(const float *logits) const;
    json word_labels(const float *logits, const text_row &row) const;
    json masked_tokens(const float *logits, const text_row &row) const;
    json part_of_context(const float *starts, const float *ends, const text_row &row) const;
    std::string token(int64_t id) const;
    // Returns whether token t of a row's text continues a word.
    bool continues_word(const text_row &row, size_t t, std::string_view text) const;

    const ss1_tokenizer *tokenizer_;
    int64_t mask_;
    size_t vocab_size_;
    kind kind_;
    bool pairs_;
    std::vector<std::string> labels_;
    std::vector<std::string> names_;  // names of the outputs
    size_t width_;                    // values of a sequence or of a token
    bool of_tokens_;
    size_t batch_ = 0, stride_ = 0;  // last run: sequences, values of one sequence
    std::vector<float> values_;
};

}  // namespace ss1::apps
