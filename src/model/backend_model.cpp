// SPDX-License-Identifier: Apache-2.0
#include "model/backend_model.hpp"

#include "mapping/mapping.hpp"
#include "op/backend.hpp"

namespace ss1 {
namespace {

// read_tensor() reads these.
struct spec_data {
    const model_directory &from;
    std::vector<tensor_spec> tensors;
};

ss1_status read_bytes(const model_directory &from, const tensor_spec &tensor, void *to) {
    const model_tensor &stored = *from.find(tensor.name);  // checked to be there
    SS1_CHECK(!from.random, SS1_ERROR_UNSUPPORTED, "tensor '%s': random rows of bytes are not drawn for a backend",
              tensor.name.c_str());
    return safetensors_read(from.files[stored.file], stored.stored, 0,
                            {static_cast<std::byte *>(to), stored.stored.bytes});
}

ss1_status read_tensor(const ss1_model_spec *spec, size_t i, void *to) {
    return guarded(nullptr, [&] {
        const spec_data &data = *static_cast<const spec_data *>(spec->core);
        SS1_CHECK(i < data.tensors.size(), SS1_ERROR_INVALID_ARGUMENT, "read_tensor: i=%zu: the spec has %zu tensors",
                  i, data.tensors.size());
        const tensor_spec &tensor = data.tensors[i];
        return tensor.quantised ? read_bytes(data.from, tensor, to)
                                : tensor_f32(data.from, tensor.name, tensor.shape, static_cast<float *>(to));
    });
}

// Optional tensors that the files lack are left out.
std::vector<tensor_spec> tensors_of(const model_directory &from) {
    std::vector<tensor_spec> tensors = model_tensors(from.config);
    std::erase_if(tensors, [&](const tensor_spec &t) { return !from.find(t.name); });
    return tensors;
}

ss1_status layers_of(const model_directory &from, std::vector<linear_shape> &shapes,
                     std::vector<ss1_layer_spec> &layers) {
    shapes = linear_layers(from.config);
    std::erase_if(shapes, [&](const linear_shape &s) { return s.optional && !from.find(s.name + ".bias"); });
    for (const linear_shape &shape : shapes) {
        ss1_linear_desc desc = desc_of(from, shape);
        SS1_TRY(resolve_for("layer " + shape.name, SS1_ERROR_INVALID_ARGUMENT, desc));
        layers.push_back({.name = shape.name.c_str(), .has_bias = shape.has_bias, .desc = desc});
    }
    return SS1_OK;
}

std::vector<ss1_tensor> tensors_of(const std::vector<tensor_slot> &slots) {
    std::vector<ss1_tensor> tensors;
    for (const tensor_slot &slot : slots) tensors.push_back(slot.tensor);
    return tensors;
}

}  // namespace

ss1_status create_on_backend(ss1_context &context, const model_directory &from, ss1_model &model) {
    const ss1_backend &backend = *context.backend;
    // Mapped tables stay in their files, where a backend that reads tensors has no use for them.
    if (!backend.model_create || (from.map_tables && from.config.family->has_tables)) return SS1_OK;
    // No plugin knows the modules behind a transformer.
    if (!from.config.family->runs_on_backends || from.config.sentence.pools()) return SS1_OK;
    const spec_data data = {from, tensors_of(from)};
    std::vector<linear_shape> shapes;
    std::vector<ss1_layer_spec> layers;
    SS1_TRY(layers_of(from, shapes, layers));
    std::vector<ss1_tensor_spec> tensors;
    for (const tensor_spec &t : data.tensors)
        tensors.push_back({.name = t.name.c_str(),
                           .layer = t.layer.c_str(),
                           .dtype = t.quantised ? SS1_DTYPE_U8 : SS1_DTYPE_F32,
                           .rank = static_cast<uint32_t>(t.shape.size()),
                           .shape = t.shape.data()});
    const std::vector<ss1_tensor> inputs = tensors_of(model.inputs), outputs = tensors_of(model.outputs);
    const ss1_model_spec spec = {.family = model.family->files->name,
                                 .config = model.config.c_str(),
                                 .n_layers = layers.size(),
                                 .n_tensors = tensors.size(),
                                 .n_inputs = inputs.size(),
                                 .n_outputs = outputs.size(),
                                 .layers = layers.data(),
                                 .tensors = tensors.data(),
                                 .inputs = inputs.data(),
                                 .outputs = outputs.data(),
                                 .read_tensor = read_tensor,
                                 .core = &data};
    void *created = nullptr;
    const ss1_status status = call_backend(backend, "model_create", &created,
                                           [&] { return backend.model_create(&context, &spec, &created); });
    if (status == SS1_ERROR_UNSUPPORTED) {
        log(context, SS1_LOG_INFO, "backend %s leaves the model to the core, layer by layer: %s", backend.name,
            last_error());
        clear_error();
        return SS1_OK;
    }
    SS1_TRY(status);
    model.backend = &backend;
    model.on_backend = created;
    for (size_t i = 0; i < layers.size(); ++i) {
        named_layer &layer = model.backend_layers.emplace_back();
        layer.name = shapes[i].name;
        layer.has_bias = shapes[i].has_bias;
        layer.info = SS1_LAYER_INFO_INIT;
        layer.info.desc = layers[i].desc;
        layer.info.stored_columns = mapping(layers[i].desc).stored_columns;
        layer.info.flops_per_row_dense = 2.0 * static_cast<double>(shapes[i].K) * static_cast<double>(shapes[i].N);
        backend.model_layer(created, i, &layer.info);
    }
    return SS1_OK;
}

void describe_backend_model(const ss1_model &model, ss1_model_info &info) noexcept {
    model.backend->model_describe(model.on_backend, &info);
}

ss1_status run_on_backend(ss1_session &session, model_run &run) {
    const auto given_up = [](const void *control) -> int {
        return static_cast<const run_control *>(control)->given_up();
    };
    const ss1_model_run on_backend = {.batch = run.size.batch,
                                      .tokens = run.size.tokens,
                                      .inputs = run.inputs.data(),
                                      .outputs = run.outputs.wanted.data(),
                                      .given_up = given_up,
                                      .control = &run.control};
    const ss1_backend &backend = *session.model->backend;
    return call_backend(backend, "session_run", nullptr,
                        [&] { return backend.session_run(session.on_backend, &on_backend); });
}

}  // namespace ss1
