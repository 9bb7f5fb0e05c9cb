// SPDX-License-Identifier: Apache-2.0
// What dlrm_rows and bert_rows have in common: runs of a session made of rows.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "apps/handles.hpp"

namespace ss1::apps {

// One run of a session: its inputs, and which row of the batch each of its rows is.
struct model_run {
    std::vector<ss1_tensor> inputs;
    std::vector<size_t> rows;
};

ss1_tensor input_tensor(const char *name, const std::vector<float> &values, std::initializer_list<size_t> shape);
ss1_tensor input_tensor(const char *name, const std::vector<int64_t> &values, std::initializer_list<size_t> shape);

// The output that answers for a row: DLRM's probability; BERT's logits or, without a classifier, its pooled vector.
struct row_output {
    std::string name;
    size_t width;  // values of one row

    // [rows, width] at `values`.
    ss1_tensor tensor(float *values, size_t rows) const;
};
row_output choose_output(const model_handle &model);

}  // namespace ss1::apps
