// SPDX-License-Identifier: Apache-2.0
// Models and sessions of all families. The C API calls them with arguments that are not NULL and structs of this
// library's size.
#pragma once
#include <atomic>
#include <memory>

#include "model/families.hpp"
#include "op/layer_observer.hpp"

// Immutable once loaded, but for rows that model_update_rows() replaces; one reference for each caller and each
// session.
struct ss1_model {
    std::atomic<size_t> references{1};
    ss1::context_ref context;
    std::string config;  // config.json as it was read
    ss1::sentence_config sentence;
    std::string score_activation;  // a Python path
    const ss1::model_family *family = nullptr;
    std::shared_ptr<void> graph;
    std::vector<ss1::tensor_slot> inputs, outputs;
    ss1_model_info info;
    // A backend that runs the model whole: its model, and the layers as it describes them. The graph then has none.
    const ss1_backend *backend = nullptr;
    void *on_backend = nullptr;
    std::vector<ss1::named_layer> backend_layers;

    ss1_model() = default;
    ss1_model(const ss1_model &) = delete;
    ss1_model &operator=(const ss1_model &) = delete;
    ~ss1_model() {
        if (on_backend) backend->model_destroy(on_backend);
    }
};

// The activations of one caller, carved out of one block of memory, or the session of the model's backend.
struct ss1_session {
    ss1_model *model = nullptr;
    ss1::session_bounds bounds{};
    ss1::layer_observer observer{};
    ss1::buffer memory, activations;
    double *stage_seconds = nullptr;
    void *on_backend = nullptr;
    ss1::run_control control;

    ss1_session() = default;
    ss1_session(const ss1_session &) = delete;
    ss1_session &operator=(const ss1_session &) = delete;
    ~ss1_session();
};

namespace ss1 {

ss1_status model_load(ss1_context &context, const char *directory, const ss1_model_options &options, ss1_model **model);
void model_retain(ss1_model *model) noexcept;
void model_release(ss1_model *model) noexcept;

ss1_status model_input(const ss1_model &model, size_t i, ss1_tensor &tensor);
ss1_status model_output(const ss1_model &model, size_t i, ss1_tensor &tensor);
ss1_status model_layer(const ss1_model &model, size_t i, ss1_model_layer_info &info);
void model_describe(const ss1_model &model, ss1_model_info &info) noexcept;
ss1_status model_label(const ss1_model &model, size_t i, const char *&label);
ss1_status model_prompt(const ss1_model &model, size_t i, const char *&name, const char *&text);
ss1_status model_update_rows(ss1_model &model, const ss1_update_rows_args &args);
ss1_status model_stage(const ss1_model &model, size_t i, const char *&name);

ss1_status session_bytes(const ss1_model &model, const ss1_session_options &options, size_t &bytes);
ss1_status session_create(ss1_model &model, const ss1_session_options &options, ss1_session **session);
void session_destroy(ss1_session *session) noexcept;
ss1_status session_run(ss1_session &session, const ss1_tensor *inputs, size_t n_inputs, ss1_tensor *outputs,
                       size_t n_outputs);
ss1_status session_time_stages(ss1_session &session, double *seconds, size_t n);

}  // namespace ss1
