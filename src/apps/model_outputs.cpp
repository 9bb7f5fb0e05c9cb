// SPDX-License-Identifier: Apache-2.0
#include "apps/model_outputs.hpp"

#include <algorithm>

namespace ss1::apps {

model_outputs::model_outputs(const model_handle &model, const std::vector<std::string> &names) {
    for (const ss1_tensor &slot : outputs_of(model))
        if (names.empty() || std::ranges::find(names, slot.name) != names.end()) slots_.push_back(slot);
    values_.resize(slots_.size());
}

std::vector<ss1_tensor> model_outputs::tensors(size_t batch, size_t tokens) {
    std::vector<ss1_tensor> result = slots_;
    for (size_t i = 0; i < result.size(); ++i) {
        size_t n = 1, varying = 0;
        for (uint32_t k = 0; k < result[i].rank; ++k) {
            const int64_t size = result[i].shape[k];
            n *= size >= 0 ? static_cast<size_t>(size) : varying++ == 0 ? batch : tokens;
        }
        values_[i].resize(n);
        result[i].data = values_[i].data();
        result[i].bytes = n * sizeof(float);
    }
    return result;
}

size_t longest(const model_rows &rows) {
    size_t tokens = 1;
    for (size_t i = 0; i < rows.size(); ++i) tokens = std::max(tokens, rows.tokens(i));
    return tokens;
}

}  // namespace ss1::apps
