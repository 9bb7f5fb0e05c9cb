// SPDX-License-Identifier: Apache-2.0
#include "apps/handles.hpp"

#include <cstdio>

#include "apps/failure.hpp"
#include "apps/notes.hpp"

namespace ss1::apps {
namespace {

// The library passes on what log_level() and SS1_VERBOSE ask for.
void log_to_stderr(void *, ss1_log_level, const char *message) {
    std::fprintf(stderr, "ss1: %s\n", message);
}

}  // namespace

context_handle make_context(uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = threads;
    options.log = log_to_stderr;
    options.log_level = log_level();
    ss1_context *context = nullptr;
    check(ss1_context_create(&options, &context));
    return context_handle(context);
}

ss1_info context_info(const context_handle &context) {
    ss1_info info = SS1_INFO_INIT;
    check(ss1_get_info(context.get(), &info));
    return info;
}

model_handle load_model(const context_handle &context, const std::string &directory, const ss1_model_options &options) {
    ss1_model *model = nullptr;
    check(ss1_model_load(context.get(), directory.c_str(), &options, &model));
    return model_handle(model);
}

ss1_model_info describe(const model_handle &model) {
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    check(ss1_model_describe(model.get(), &info));
    return info;
}

std::vector<ss1_tensor> outputs_of(const model_handle &model) {
    std::vector<ss1_tensor> outputs(describe(model).n_outputs, SS1_TENSOR_INIT);
    for (size_t i = 0; i < outputs.size(); ++i) check(ss1_model_output(model.get(), i, &outputs[i]));
    return outputs;
}

std::vector<std::string> labels_of(const model_handle &model) {
    std::vector<std::string> labels(describe(model).n_labels);
    for (size_t i = 0; i < labels.size(); ++i) {
        const char *label = nullptr;
        check(ss1_model_label(model.get(), i, &label));
        labels[i] = label;
    }
    return labels;
}

ss1_model_layer_info describe_layer(const model_handle &model, size_t i) {
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    check(ss1_model_layer(model.get(), i, &info));
    return info;
}

session_handle make_session(const model_handle &model, const ss1_session_options &options) {
    ss1_session *session = nullptr;
    check(ss1_session_create(model.get(), &options, &session));
    return session_handle(session);
}

tokenizer_handle load_tokenizer(const context_handle &context, const std::string &directory) {
    ss1_tokenizer *tokenizer = nullptr;
    check(ss1_tokenizer_load(context.get(), directory.c_str(), &tokenizer));
    return tokenizer_handle(tokenizer);
}

}  // namespace ss1::apps
