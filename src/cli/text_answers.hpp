// SPDX-License-Identifier: Apache-2.0
// What a BERT says of each text of a batch, as a JSON object: labels with scores, tokens for [MASK], or a vector.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli.hpp"

namespace ss1::cli {

class text_answers {
  public:
    text_answers(const model_handle &model, const ss1_tokenizer *tokenizer);

    // The output to ask for in a run of `batch` sequences of `tokens`; its memory is this object's.
    ss1_tensor output(size_t batch, size_t tokens);
    // Of sequence i after the run.
    nlohmann::ordered_json answer(size_t i, const std::vector<int64_t> &ids) const;

  private:
    enum class kind { one_label, any_labels, value, masked_tokens, vector };

    nlohmann::ordered_json masked_tokens(const float *logits, const std::vector<int64_t> &ids) const;
    std::string token(size_t id) const;

    const ss1_tokenizer *tokenizer_;
    int64_t mask_ = -1;
    kind kind_;
    std::vector<std::string> labels_;
    std::string name_;   // of the output
    size_t width_;       // values of a sequence or, for masked_tokens, of a token
    size_t stride_ = 0;  // values of a sequence of the last run
    std::vector<float> values_;
};

}  // namespace ss1::cli
