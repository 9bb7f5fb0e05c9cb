// SPDX-License-Identifier: Apache-2.0
// The readers of rows by model family. A new family adds one entry to the table in row_family.cpp.
#pragma once
#include <memory>

#include "apps/model_rows.hpp"

namespace ss1::apps {

struct row_family {
    const char *name;      // ss1_model_info.family
    const char *title;     // the name in messages
    size_t default_batch;  // most rows of a run, unless the user chooses
    bool has_tokens;       // a row is a sequence of tokens; text_rows makes rows from text
    bool has_users;        // model_rows::share_user() has an effect
    std::unique_ptr<model_rows> (*make_rows)(const ss1_model_info &model);
};

const row_family &family_of(const model_handle &model);
// Rows of a run of up to `max_tokens` tokens each, unless the user chooses: at most 4,096 tokens, because scores of
// words for more would take gigabytes.
size_t default_batch(const model_handle &model, size_t max_tokens);

}  // namespace ss1::apps
