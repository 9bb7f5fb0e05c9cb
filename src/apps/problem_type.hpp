// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "apps/handles.hpp"

namespace ss1::apps {

// What a classifier's scores stand for: config.json's problem_type, read as by transformers' text-classification
// pipeline.
enum class problem_type {
    one_label,   // one of several labels is right
    any_labels,  // each label is right or not
    value        // regression
};

// `scores`: how many the model gives for a row.
problem_type problem_of(const model_handle &model, size_t scores);

}  // namespace ss1::apps
