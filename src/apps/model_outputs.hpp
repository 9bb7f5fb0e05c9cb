// SPDX-License-Identifier: Apache-2.0
// Memory for outputs of session runs.
#pragma once
#include <string>
#include <vector>

#include "apps/model_rows.hpp"

namespace ss1::apps {

class model_outputs {
  public:
    // `names` empty: every output of the model.
    explicit model_outputs(const model_handle &model, const std::vector<std::string> &names = {});

    // The outputs to request from a run of `batch` rows of up to `tokens` tokens. This object owns their memory.
    std::vector<ss1_tensor> tensors(size_t batch, size_t tokens);
    const std::vector<float> &values(size_t i) const { return values_[i]; }

  private:
    std::vector<ss1_tensor> slots_;
    std::vector<std::vector<float>> values_;
};

// Tokens of the longest row.
size_t longest(const model_rows &rows);

}  // namespace ss1::apps
