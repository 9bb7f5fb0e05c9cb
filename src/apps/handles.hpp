// SPDX-License-Identifier: Apache-2.0
// The C API's objects with owners, and calls that throw a failure instead of returning a status.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ss1/ss1.h"

namespace ss1::apps {

template <auto destroy>
struct destroy_with {
    template <class T>
    void operator()(T *handle) const {
        destroy(&handle);
    }
};
using context_handle = std::unique_ptr<ss1_context, destroy_with<ss1_context_destroy>>;
using layer_handle = std::unique_ptr<ss1_layer, destroy_with<ss1_layer_destroy>>;
using tower_handle = std::unique_ptr<ss1_tower, destroy_with<ss1_tower_destroy>>;
using bags_handle = std::unique_ptr<ss1_bags, destroy_with<ss1_bags_destroy>>;
using model_handle = std::unique_ptr<ss1_model, destroy_with<ss1_model_destroy>>;
using calibration_handle = std::unique_ptr<ss1_calibration, destroy_with<ss1_calibration_destroy>>;
using session_handle = std::unique_ptr<ss1_session, destroy_with<ss1_session_destroy>>;
using tokenizer_handle = std::unique_ptr<ss1_tokenizer, destroy_with<ss1_tokenizer_destroy>>;

// 0 threads: the library's default. The library's warnings are written to stderr.
context_handle make_context(uint32_t threads = 0);
ss1_info context_info(const context_handle &context);

model_handle load_model(const context_handle &context, const std::string &directory, const ss1_model_options &options);
ss1_model_info describe(const model_handle &model);
std::vector<ss1_tensor> outputs_of(const model_handle &model);  // names, types and shapes, without memory
std::vector<std::string> labels_of(const model_handle &model);  // none: it has no labels
ss1_model_layer_info describe_layer(const model_handle &model, size_t i);

session_handle make_session(const model_handle &model, const ss1_session_options &options);
tokenizer_handle load_tokenizer(const context_handle &context, const std::string &directory);

}  // namespace ss1::apps
