// SPDX-License-Identifier: Apache-2.0
// Whole models on the device: the model slots of ss1_backend, and what families share. A family is one row of a table
// in model.cpp.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layer.hpp"
#include "session.hpp"

namespace ss1::cuda {

ss1_status model_create(const ss1_context *context, const ss1_model_spec *spec, void **model) noexcept;
void model_describe(const void *model, ss1_model_info *info) noexcept;
void model_layer(const void *model, size_t i, ss1_layer_info *info) noexcept;
void model_destroy(void *model) noexcept;
size_t session_bytes(const void *model, size_t max_batch, size_t max_tokens) noexcept;
ss1_status session_create(const void *model, size_t max_batch, size_t max_tokens, void **session) noexcept;
ss1_status session_run(void *session, const ss1_model_run *run) noexcept;
void session_destroy(void *session) noexcept;

// One layer, or several that are stacked along N and run as one.
struct block_layer {
    std::shared_ptr<const void> state;  // of layer.hpp
    ss1_linear_desc desc{};             // of one part
    size_t parts = 1;

    size_t outputs() const { return parts * desc.N; }
    explicit operator bool() const { return state != nullptr; }
};

// What a family reads a model from, and what it adds up meanwhile.
struct model_source {
    const ss1_context *context;
    const ss1_model_spec &spec;
    cudaMemPool_t pool;
    size_t table_bytes = 0, parameters = 0;  // of all but the layers; of all
    struct layer_place {
        block_layer layer;
        size_t part;
    };
    std::vector<layer_place> layers = std::vector<layer_place>(spec.n_layers);
};

using device_memory = std::shared_ptr<device_buffer>;

// @return the index, or SIZE_MAX
size_t find_tensor(const ss1_model_spec &spec, const std::string &name);

// Copies a tensor of f32, which must be there, to the device.
ss1_status upload_tensor(model_source &from, const std::string &name, device_memory &out);
ss1_status upload_bytes(model_source &from, const void *bytes, size_t n, device_memory &out);

// Layers with such weights may read and write bf16.
inline bool is_below_f32(const ss1_layer_spec &layer) {
    return layer.desc.weight_dtype == SS1_DTYPE_BF16 || layer.desc.weight_dtype == SS1_DTYPE_I8;
}

// Makes layers [first, first + parts) of the spec one layer of these types and this activation.
struct layer_use {
    ss1_dtype x, y;
    ss1_activation activation = SS1_ACTIVATION_NONE;
};
ss1_status make_layer(model_source &from, size_t first, size_t parts, const layer_use &use, block_layer &out);
// Whether layers [first, first + parts) can be one.
bool can_stack(const ss1_model_spec &spec, size_t first, size_t parts);

// y = layer(x) on the stream; `scratch` has room for the layer.
struct layer_run_args {
    size_t m;
    const void *x;
    size_t ldx;
    void *y;
    size_t ldy;
    void *scratch;
    cudaStream_t stream;
    made_x made = {};
};
ss1_status run_layer(const block_layer &layer, const layer_run_args &args);

// Fails with SS1_ERROR_UNSUPPORTED: the core then runs the model layer by layer.
ss1_status leave_to_core(const std::string &reason);
// Hands an error of sources that are shared with the core (namespace ss1) to the core.
ss1_status pass_on(ss1_status status);

// A run's place in its session.
struct run_place {
    const ss1_model_run &run;
    session_memory &memory;
    graph_cache &graphs;

    bool given_up() const { return run.given_up(run.control) != 0; }
};

// A family of models. `graph` is what create() made of a model, `activations` what carve() made for a session.
struct model_family {
    const char *name;
    ss1_status (*create)(model_source &from, std::shared_ptr<const void> &graph);
    // Lays out the memory of sessions within these bounds. Called once to count, and once with memory.
    std::shared_ptr<void> (*carve)(const void *graph, size_t max_batch, size_t max_tokens, carver &on_device,
                                   carver &pinned);
    ss1_status (*run)(const void *graph, void *activations, const run_place &place);
};

extern const model_family bert_family, dlrm_family;

}  // namespace ss1::cuda
