// SPDX-License-Identifier: Apache-2.0
#include "model/model.hpp"

#include <algorithm>
#include <cstring>

ss1_session::~ss1_session() {
    if (model) ss1::model_release(model);
}

namespace ss1 {
namespace {

const std::vector<named_layer> &layers_of(const ss1_model &model) noexcept {
    return *std::visit([](const auto &graph) { return &graph.layers; }, model.graph);
}

template <class G>
ss1_status load_graph(ss1_context &context, const model_directory &from, ss1_model &model) {
    G &graph = model.graph.emplace<G>();
    SS1_TRY(load(context, from, graph));
    model.inputs = input_slots(graph);
    model.outputs = output_slots(graph);
    return SS1_OK;
}

ss1_status slot_at(const char *what, const std::vector<tensor_slot> &slots, size_t i, ss1_tensor &tensor) {
    SS1_CHECK(i < slots.size(), SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu %s", i, slots.size(), what);
    tensor = slots[i].tensor;
    return SS1_OK;
}

ss1_status resolve(const ss1_model &model, const ss1_session_options &options, session_bounds &bounds) {
    bounds = {options.max_batch ? options.max_batch : 1, options.max_tokens};
    return std::visit([&](const auto &graph) { return resolve_bounds(graph, bounds); }, model.graph);
}

ss1_status carve_session(const ss1_model &model, const session_bounds &bounds, carver &memory,
                         decltype(ss1_session::activations) &activations) {
    std::visit([&](const auto &graph) { activations = carve(*model.context, graph, bounds, memory); }, model.graph);
    SS1_CHECK(memory.fits(), SS1_ERROR_INVALID_ARGUMENT,
              "options.max_batch=%zu, max_tokens=%zu: the activations do not fit the address space", bounds.max_batch,
              bounds.max_tokens);
    return SS1_OK;
}

}  // namespace

ss1_status model_load(ss1_context &context, const char *directory, const ss1_model_options &options, ss1_model **out) {
    model_directory from;
    SS1_TRY(model_directory_open(directory, options, from));
    SS1_TRY(model_directory_check(from));
    auto model = std::make_unique<ss1_model>();
    model->context = context_ref(&context);
    model->config = from.config.text;
    SS1_TRY(from.config.family == model_family::dlrm ? load_graph<dlrm_model>(context, from, *model)
                                                     : load_graph<bert_model>(context, from, *model));
    *out = model.release();
    return SS1_OK;
}

void model_retain(ss1_model *model) noexcept {
    model->references.fetch_add(1);
}

void model_release(ss1_model *model) noexcept {
    if (model->references.fetch_sub(1) == 1) delete model;
}

ss1_status model_input(const ss1_model &model, size_t i, ss1_tensor &tensor) {
    return slot_at("inputs", model.inputs, i, tensor);
}

ss1_status model_output(const ss1_model &model, size_t i, ss1_tensor &tensor) {
    return slot_at("outputs", model.outputs, i, tensor);
}

ss1_status model_layer(const ss1_model &model, size_t i, ss1_model_layer_info &info) {
    const std::vector<named_layer> &layers = layers_of(model);
    SS1_CHECK(i < layers.size(), SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu layers", i, layers.size());
    info.name = layers[i].name.c_str();
    info.layer = layers[i].info;
    return SS1_OK;
}

void model_describe(const ss1_model &model, ss1_model_info &info) noexcept {
    const std::vector<named_layer> &layers = layers_of(model);
    const size_t tables = std::visit([](const auto &graph) { return table_bytes(graph); }, model.graph);
    info.family = std::holds_alternative<dlrm_model>(model.graph) ? "dlrm" : "bert";
    info.config = model.config.c_str();
    info.n_inputs = model.inputs.size();
    info.n_outputs = model.outputs.size();
    info.n_layers = layers.size();
    info.weight_bytes = tables;
    info.parameters = std::visit([](const auto &graph) { return table_parameters(graph); }, model.graph);
    for (const named_layer &l : layers) {
        info.weight_bytes += l.info.weight_bytes;
        info.parameters += l.info.desc.N * (l.info.stored_columns + l.has_bias);
    }
    if (const auto *bert = std::get_if<bert_model>(&model.graph)) {
        info.n_labels = bert->labels.size();
        info.max_tokens = bert->config.max_tokens();
        info.vocab_size = bert->config.vocab_size;
        info.type_vocab_size = bert->config.type_vocab_size;
    }
}

ss1_status model_label(const ss1_model &model, size_t i, const char *&label) {
    const auto *bert = std::get_if<bert_model>(&model.graph);
    const size_t n = bert ? bert->labels.size() : 0;
    SS1_CHECK(i < n, SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu labels", i, n);
    label = bert->labels[i].c_str();
    return SS1_OK;
}

ss1_status session_bytes(const ss1_model &model, const ss1_session_options &options, size_t &bytes) {
    const float_mode mode;  // plans, too, must not meet the caller's traps
    session_bounds bounds;
    SS1_TRY(resolve(model, options, bounds));
    carver counter;
    decltype(ss1_session::activations) unused;
    SS1_TRY(carve_session(model, bounds, counter, unused));
    bytes = counter.bytes();
    return SS1_OK;
}

ss1_status session_create(ss1_model &model, const ss1_session_options &options, ss1_session **out) {
    const float_mode mode;
    size_t bytes = 0;
    SS1_TRY(session_bytes(model, options, bytes));
    auto session = std::make_unique<ss1_session>();
    SS1_TRY(resolve(model, options, session->bounds));
    SS1_TRY(session->memory.allocate(*model.context, bytes));
    if (bytes) std::memset(session->memory.data(), 0, bytes);  // page faults here instead of in the first runs
    carver memory(session->memory.data());
    SS1_TRY(carve_session(model, session->bounds, memory, session->activations));
    model_retain(&model);
    session->model = &model;
    *out = session.release();
    return SS1_OK;
}

void session_destroy(ss1_session *session) noexcept {
    delete session;
}

ss1_status session_run(ss1_session &session, const ss1_tensor *inputs, size_t n_inputs, ss1_tensor *outputs,
                       size_t n_outputs) {
    const ss1_model &model = *session.model;
    const run_control &control = session.control;
    const run_scope scope(session.control);
    const float_mode mode;
    tensor_list<const ss1_tensor> in;
    run_outputs out{};
    SS1_TRY(match_inputs(model.inputs, {inputs, n_inputs}, in));
    SS1_TRY(match_outputs(model.outputs, {outputs, n_outputs}, out.wanted));
    return std::visit(
        [&](const auto &graph) {
            using graph_type = std::decay_t<decltype(graph)>;
            const auto &memory = *std::get_if<typename graph_type::activations>(&session.activations);
            run_size size;
            SS1_TRY(check_inputs(graph, session.bounds, in, size));
            SS1_TRY(check_room(model.outputs, out.wanted, size, model.inputs, in));
            if (!size.empty()) SS1_TRY(run(*model.context, graph, memory, control, in, size, out));
            SS1_TRY(control.check());
            write_outputs(model.outputs, out, size);
            return SS1_OK;
        },
        model.graph);
}

ss1_status session_time_stages(ss1_session &session, double *seconds, size_t n) {
    const bool is_dlrm = std::holds_alternative<dlrm_activations>(session.activations);
    const size_t stages = is_dlrm ? n_dlrm_stages : n_bert_stages;
    SS1_CHECK(n == (seconds ? stages : 0), SS1_ERROR_INVALID_ARGUMENT,
              "n=%zu: a %s has %zu stages (and NULL for seconds 0)", n, is_dlrm ? "DLRM" : "BERT", stages);
    std::visit([seconds](auto &activations) { activations.stage_seconds = seconds; }, session.activations);
    return SS1_OK;
}

}  // namespace ss1
