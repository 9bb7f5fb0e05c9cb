// SPDX-License-Identifier: Apache-2.0
#include "model/model.hpp"

#include <algorithm>
#include <cstring>

#include "model/backend_model.hpp"
#include "op/backend.hpp"

ss1_session::~ss1_session() {
    if (!model) return;
    if (on_backend) model->backend->session_destroy(on_backend);
    ss1::model_release(model);
}

namespace ss1 {
namespace {

const std::vector<named_layer> &layers_of(const ss1_model &model) noexcept {
    return model.on_backend ? model.backend_layers : model.family->layers(model.graph.get());
}

ss1_status slot_at(const char *what, const std::vector<tensor_slot> &slots, size_t i, ss1_tensor &tensor) {
    SS1_CHECK(i < slots.size(), SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu %s", i, slots.size(), what);
    tensor = slots[i].tensor;
    return SS1_OK;
}

ss1_status resolve(const ss1_model &model, const ss1_session_options &options, session_bounds &bounds) {
    bounds = {.max_batch = options.max_batch ? options.max_batch : 1, .max_tokens = options.max_tokens};
    return model.family->resolve_bounds(model.graph.get(), bounds);
}

// Makes `observer` for a session of the model; bounds.observer stays NULL if nobody looks on.
ss1_status observe_layers(const ss1_model &model, const ss1_session_options &options, layer_observer &observer,
                          session_bounds &bounds) {
    if (!options.observe) return SS1_OK;
    SS1_CHECK(!model.on_backend, SS1_ERROR_UNSUPPORTED,
              "options.observe is set: backend '%s' runs the model whole and shows no layer", model.backend->name);
    observer = {options.observe, options.observe_user, {}};
    const std::vector<named_layer> &layers = layers_of(model);
    for (size_t i = 0; i < layers.size(); ++i) {
        if (i > 0 && layers[i].layer == layers[i - 1].layer) {
            ++observer.layers.back().count;
        } else {
            observer.layers.push_back({layers[i].layer.get(), i, 1});
        }
    }
    bounds.observer = &observer;
    return SS1_OK;
}

ss1_status carve_session(const ss1_model &model, const session_bounds &bounds, carver &memory, void *activations) {
    model.family->carve(*model.context, model.graph.get(), bounds, memory, activations);
    SS1_CHECK(memory.fits(), SS1_ERROR_INVALID_ARGUMENT,
              "options.max_batch=%zu, max_tokens=%zu: the activations do not fit the address space", bounds.max_batch,
              bounds.max_tokens);
    return SS1_OK;
}

// The core does not know the stages of a backend that runs a model whole.
std::span<const char *const> stages_of(const ss1_model &model) noexcept {
    return model.on_backend ? std::span<const char *const>{} : model.family->stages;
}

// Whether the model has logits of whole sequences.
bool scores_sequences(const ss1_model &model) noexcept {
    return std::ranges::any_of(model.outputs, [](const tensor_slot &slot) {
        return !std::strcmp(slot.tensor.name, "logits") && slot.tensor.rank == 2;
    });
}

// Adds the layers to the description of the graph.
void fill_info(ss1_model &model) {
    ss1_model_info &info = model.info = SS1_MODEL_INFO_INIT;
    model.family->describe(model.graph.get(), info);
    if (model.on_backend) {
        describe_backend_model(model, info);
    } else {
        for (const named_layer &l : layers_of(model)) {
            info.weight_bytes += l.info.weight_bytes;
            const ss1_linear_desc &desc = l.info.desc;
            info.parameters += desc.N * (l.info.stored_columns + l.has_bias) + desc.rank * (desc.N + desc.K);
        }
    }
    info.family = model.family->files->name;
    info.config = model.config.c_str();
    info.n_inputs = model.inputs.size();
    info.n_outputs = model.outputs.size();
    info.n_layers = layers_of(model).size();
    info.n_stages = stages_of(model).size();
    info.n_prompts = model.sentence.prompts.size();
    if (!model.sentence.default_prompt.empty()) info.default_prompt = model.sentence.default_prompt.c_str();
    if (info.embedding_size) info.similarity = model.sentence.similarity.c_str();
    if (scores_sequences(model)) {
        std::string &path = model.score_activation;
        if (path.empty()) path = info.n_labels == 1 ? "torch.nn.Sigmoid" : "torch.nn.Identity";
        info.score_activation = path.c_str() + path.rfind('.') + 1;
    }
}

}  // namespace

ss1_status model_load(ss1_context &context, const char *directory, const ss1_model_options &options, ss1_model **out) {
    model_directory from;
    SS1_TRY(model_directory_open(directory, options, from));
    SS1_TRY(model_directory_check(from));
    auto model = std::make_unique<ss1_model>();
    model->context = context_ref(&context);
    model->config = from.config.text;
    model->sentence = from.config.sentence;
    model->score_activation = from.config.score_activation;
    model->family = &model_family_of(*from.config.family);
    model->graph = model->family->make();
    SS1_TRY(model->family->prepare(from, model->graph.get()));
    model->inputs = model->family->input_slots(model->graph.get());
    model->outputs = model->family->output_slots(model->graph.get());
    SS1_TRY(create_on_backend(context, from, *model));
    if (!model->on_backend) SS1_TRY(model->family->load(context, from, model->graph.get()));
    fill_info(*model);
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
    info = model.info;
}

ss1_status model_label(const ss1_model &model, size_t i, const char *&label) {
    const std::vector<std::string> &labels = model.family->labels(model.graph.get());
    SS1_CHECK(i < labels.size(), SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu labels", i, labels.size());
    label = labels[i].c_str();
    return SS1_OK;
}

ss1_status model_prompt(const ss1_model &model, size_t i, const char *&name, const char *&text) {
    const std::vector<sentence_prompt> &prompts = model.sentence.prompts;
    SS1_CHECK(i < prompts.size(), SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu prompts", i, prompts.size());
    name = prompts[i].name.c_str();
    text = prompts[i].text.c_str();
    return SS1_OK;
}

ss1_status model_stage(const ss1_model &model, size_t i, const char *&name) {
    const size_t n = stages_of(model).size();
    SS1_CHECK(i < n, SS1_ERROR_INVALID_ARGUMENT, "i=%zu: the model has %zu stages", i, n);
    name = stages_of(model)[i];
    return SS1_OK;
}

ss1_status model_update_rows(ss1_model &model, const ss1_update_rows_args &args) {
    SS1_CHECK(!model.on_backend, SS1_ERROR_UNSUPPORTED, "backend '%s' runs the model whole and has its tables",
              model.backend->name);
    SS1_CHECK(model.family->update_rows, SS1_ERROR_UNSUPPORTED, "models of the family '%s' have no embedding tables",
              model.family->files->name);
    return model.family->update_rows(model.graph.get(), args);
}

ss1_status session_bytes(const ss1_model &model, const ss1_session_options &options, size_t &bytes) {
    const float_mode mode;  // plans must not raise the caller's traps either
    session_bounds bounds;
    SS1_TRY(resolve(model, options, bounds));
    layer_observer observer{};
    SS1_TRY(observe_layers(model, options, observer, bounds));
    if (model.on_backend) {
        bytes = model.backend->session_bytes(model.on_backend, bounds.max_batch, bounds.max_tokens);
        SS1_CHECK(bytes != SIZE_MAX, SS1_ERROR_INVALID_ARGUMENT,
                  "max_batch=%zu, max_tokens=%zu: the sizes of a session overflow", bounds.max_batch,
                  bounds.max_tokens);
        return SS1_OK;
    }
    buffer unused;
    SS1_TRY(unused.allocate(allocator{}, model.family->activation_bytes));
    carver counter;
    SS1_TRY(carve_session(model, bounds, counter, unused.data()));
    bytes = counter.bytes();
    return SS1_OK;
}

ss1_status session_create(ss1_model &model, const ss1_session_options &options, ss1_session **out) {
    const float_mode mode;
    auto session = std::make_unique<ss1_session>();
    session_bounds &bounds = session->bounds;
    SS1_TRY(resolve(model, options, bounds));
    SS1_TRY(observe_layers(model, options, session->observer, bounds));
    if (model.on_backend) {
        void *created = nullptr;
        SS1_TRY(call_backend(*model.backend, "session_create", &created, [&] {
            return model.backend->session_create(model.on_backend, bounds.max_batch, bounds.max_tokens, &created);
        }));
        session->on_backend = created;
    } else {
        size_t bytes = 0;
        SS1_TRY(session_bytes(model, options, bytes));
        SS1_TRY(session->memory.allocate(*model.context, bytes));
        SS1_TRY(session->activations.allocate(allocator{}, model.family->activation_bytes));
        if (bytes) std::memset(session->memory.data(), 0, bytes);  // page faults here instead of in the first runs
        carver memory(session->memory.data());
        SS1_TRY(carve_session(model, bounds, memory, session->activations.data()));
    }
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
    const model_family &family = *model.family;
    const void *graph = model.graph.get();
    const run_scope scope(session.control);
    SS1_TRY(scope.check());
    const float_mode mode;
    model_run run = {.context = *model.context,
                     .observer = session.bounds.observer,
                     .control = session.control,
                     .inputs = {},
                     .size = {},
                     .stage_seconds = session.stage_seconds,
                     .outputs = {}};
    SS1_TRY(match_inputs(model.inputs, {inputs, n_inputs}, run.inputs));
    SS1_TRY(match_outputs(model.outputs, {outputs, n_outputs}, run.outputs.wanted));
    SS1_TRY(family.check_sizes(graph, session.bounds, run.inputs, run.size));
    if (!session.on_backend) SS1_TRY(family.check_values(graph, run.inputs));
    SS1_TRY(check_room(model.outputs, run.outputs.wanted, run.size, model.inputs, run.inputs));
    if (!run.size.empty())
        SS1_TRY(session.on_backend ? run_on_backend(session, run) : family.run(graph, session.activations.data(), run));
    SS1_TRY(session.control.check());
    SS1_TRY(check_executor());
    write_outputs(model.outputs, run.outputs, run.size);
    return SS1_OK;
}

ss1_status session_time_stages(ss1_session &session, double *seconds, size_t n) {
    const size_t stages = stages_of(*session.model).size();
    SS1_CHECK(n == (seconds ? stages : 0), SS1_ERROR_INVALID_ARGUMENT,
              "n=%zu: this model of family '%s' has %zu stages (n must be 0 if seconds is NULL)", n,
              session.model->family->files->name, stages);
    const run_scope scope(session.control, run_control::being_set);
    SS1_TRY(scope.check());
    session.stage_seconds = seconds;
    return SS1_OK;
}

}  // namespace ss1
