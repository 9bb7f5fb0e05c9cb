// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/status.hpp"
#include "layer.hpp"
#include "mapping/mapping.hpp"

namespace ss1::cuda {
namespace {

struct model {
    int device = 0;
    const model_family *family = nullptr;
    std::shared_ptr<const void> graph;
    std::vector<model_source::layer_place> layers;  // of the spec
    size_t n_inputs = 0;
    size_t weight_bytes = 0, parameters = 0;

    ~model() {
        const device_scope scope(device);  // the streams that free the weights are the current device's
        graph.reset();
        layers.clear();
    }
};

struct session {
    const model *of = nullptr;
    session_memory memory;
    graph_cache graphs;
    std::shared_ptr<void> activations;

    ~session() {
        const device_scope scope(of->device);
        activations.reset();  // before the stream that its memory is freed on
    }
};

constexpr const model_family *families[] = {&bert_family, &dlrm_family};

ss1_layer_info info_of(const block_layer &layer) {
    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    layer_describe(layer.state.get(), &info);
    return info;
}

ss1_status create(const ss1_context *context, const ss1_model_spec &spec, void **out) {
    const auto family = std::find_if(std::begin(families), std::end(families),
                                     [&](const model_family *f) { return !std::strcmp(f->name, spec.family); });
    if (family == std::end(families)) return leave_to_core(std::string("family '") + spec.family + "'");
    ss1_info info = SS1_INFO_INIT;
    SS1_CHECK_OK(host->get_info(context, &info));
    const device_scope scope(info.device);
    SS1_CUDA(scope.status());
    model_source from = {.context = context, .spec = spec, .pool = weight_pool(info.device)};
    if (!from.pool) return fail(SS1_ERROR_BACKEND, "the device has no memory pools");
    auto made = std::make_unique<model>();
    made->device = info.device;
    made->family = *family;
    made->n_inputs = spec.n_inputs;
    SS1_CHECK_OK((*family)->create(from, made->graph));
    made->weight_bytes = from.table_bytes;
    made->parameters = from.parameters;
    for (const auto &[layer, part] : from.layers)
        if (part == 0) made->weight_bytes += info_of(layer).weight_bytes;
    made->layers = std::move(from.layers);
    *out = made.release();
    return SS1_OK;
}

ss1_status create_session(const model &of, size_t max_batch, size_t max_tokens, void **out) {
    const device_scope scope(of.device);
    SS1_CUDA(scope.status());
    auto made = std::make_unique<session>();
    made->of = &of;
    carver on_device, pinned;
    of.family->carve(of.graph.get(), max_batch, max_tokens, on_device, pinned);
    if (!on_device.fits() || !pinned.fits() || max_batch > INT32_MAX / std::max<size_t>(1, max_tokens))
        return fail(SS1_ERROR_INVALID_ARGUMENT,
                    "max_batch=" + std::to_string(max_batch) + ", max_tokens=" + std::to_string(max_tokens) +
                        ": their product must be below 2^31, and the activations below 2^62 bytes");
    SS1_CHECK_OK(made->memory.allocate(of.device, on_device.bytes(), pinned.bytes()));
    carver device_memory(made->memory.on_device), pinned_memory(made->memory.pinned);
    made->activations = of.family->carve(of.graph.get(), max_batch, max_tokens, device_memory, pinned_memory);
    *out = made.release();
    return SS1_OK;
}

// Turns what `body` throws into an error.
template <class F>
ss1_status without_exceptions(F &&body) noexcept {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return host->fail(SS1_ERROR_OUT_OF_MEMORY, "cuda: no host memory");
    }
}

ss1_status run_session(session &s, const ss1_model_run &run) {
    const device_scope scope(s.of->device);
    SS1_CUDA(scope.status());
    for (size_t i = 0; i < s.of->n_inputs; ++i)
        if (run.inputs[i] && run.inputs[i]->data && on_device(run.inputs[i]->data))
            return fail(SS1_ERROR_INVALID_ARGUMENT, std::string("input '") + run.inputs[i]->name +
                                                        "' is device memory; inputs must be host memory");
    const ss1_status status = without_exceptions([&] {
        return s.of->family->run(s.of->graph.get(), s.activations.get(), {run, s.memory, s.graphs});
    });
    // Nothing of a run is left on the stream: the caller may free what it gave.
    const cudaError_t error = cudaStreamSynchronize(s.memory.stream);
    return status != SS1_OK ? status : check(error, "cudaStreamSynchronize");
}

// Appends a tensor of f32.
ss1_status read_tensor(const ss1_model_spec &spec, const std::string &name, size_t count, std::vector<float> &out) {
    const size_t i = find_tensor(spec, name);
    if (i == SIZE_MAX) return fail(SS1_ERROR_INTERNAL, "the model has no tensor " + name);
    const size_t before = out.size();
    out.resize(before + count);
    return spec.read_tensor(&spec, i, out.data() + before);
}

// Reads V of a layer, [rank, K].
ss1_status read_down(const ss1_model_spec &spec, size_t layer, std::vector<float> &out) {
    const ss1_layer_spec &from = spec.layers[layer];
    return read_tensor(spec, std::string(from.name) + ".low_rank_down", from.desc.rank * from.desc.K, out);
}

// Whether these layers have one V, so that one x V serves them.
bool share_down(const ss1_model_spec &spec, size_t first, size_t parts) {
    std::vector<float> one;
    if (read_down(spec, first, one) != SS1_OK) return false;
    for (size_t i = first + 1; i < first + parts; ++i) {
        std::vector<float> other;
        if (read_down(spec, i, other) != SS1_OK || std::memcmp(other.data(), one.data(), one.size() * sizeof(float)))
            return false;
    }
    return true;
}

}  // namespace

size_t find_tensor(const ss1_model_spec &spec, const std::string &name) {
    const ss1_tensor_spec *end = spec.tensors + spec.n_tensors,
                          *at = std::find_if(spec.tensors, end, [&](const auto &t) { return name == t.name; });
    return at == end ? SIZE_MAX : static_cast<size_t>(at - spec.tensors);
}
ss1_status leave_to_core(const std::string &reason) {
    return fail(SS1_ERROR_UNSUPPORTED, "whole models: no " + reason);
}

ss1_status pass_on(ss1_status status) {
    return status == SS1_OK ? SS1_OK : host->fail(status, last_error());
}

ss1_status upload_bytes(model_source &from, const void *bytes, size_t n, device_memory &out) {
    out = std::make_shared<device_buffer>();
    SS1_CHECK_OK(upload(bytes, n, from.pool, *out));
    from.table_bytes += n;
    return SS1_OK;
}

ss1_status upload_tensor(model_source &from, const std::string &name, device_memory &out) {
    const size_t i = find_tensor(from.spec, name);
    size_t count = 1;
    for (size_t k = 0; i != SIZE_MAX && k < from.spec.tensors[i].rank; ++k) count *= from.spec.tensors[i].shape[k];
    std::vector<float> values;
    SS1_CHECK_OK(read_tensor(from.spec, name, count, values));
    from.parameters += count;
    return upload_bytes(from, values.data(), count * sizeof(float), out);
}

ss1_status make_layer(model_source &from, size_t first, size_t parts, const layer_use &use, block_layer &out) {
    const ss1_layer_spec &spec = from.spec.layers[first];
    ss1_linear_desc desc = spec.desc;
    desc.x_dtype = use.x;
    desc.y_dtype = use.y;
    desc.activation = use.activation;
    const char *reason = "";
    if (!layer_supports(&desc, 0, parts, &reason))
        return fail(SS1_ERROR_UNSUPPORTED, std::string("layer ") + spec.name + ": " + reason);
    const size_t stored = mapping(desc).stored_columns;
    std::vector<float> z, u, v, bias;
    for (size_t i = first; i < first + parts; ++i) {
        const std::string name = from.spec.layers[i].name;
        const bool tied = find_tensor(from.spec, name + ".ss1_weight") != SIZE_MAX;
        if (stored) SS1_CHECK_OK(read_tensor(from.spec, name + (tied ? ".ss1_weight" : ".weight"), desc.N * stored, z));
        if (desc.rank) SS1_CHECK_OK(read_tensor(from.spec, name + ".low_rank_up", desc.N * desc.rank, u));
        if (spec.has_bias) SS1_CHECK_OK(read_tensor(from.spec, name + ".bias", desc.N, bias));
        from.parameters += desc.N * (stored + desc.rank + (spec.has_bias ? 1 : 0)) + desc.rank * desc.K;
    }
    if (desc.rank) SS1_CHECK_OK(read_down(from.spec, first, v));
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    weights.ldz = stored;
    weights.u = u.data();
    weights.v = v.data();
    weights.bias = spec.has_bias ? bias.data() : nullptr;
    void *state = nullptr;
    SS1_CHECK_OK(layer_create(from.context, &desc, parts, &weights, &state));
    out = {std::shared_ptr<const void>(state, [](const void *p) { layer_destroy(const_cast<void *>(p)); }), desc,
           parts};
    for (size_t i = 0; i < parts; ++i) from.layers[first + i] = {out, i};
    return SS1_OK;
}

bool can_stack(const ss1_model_spec &spec, size_t first, size_t parts) {
    const ss1_linear_desc &a = spec.layers[first].desc;
    const char *reason;
    if (!layer_supports(&a, 0, parts, &reason)) return false;
    const bool alike =
        std::all_of(spec.layers + first + 1, spec.layers + first + parts, [&](const ss1_layer_spec &layer) {
            const ss1_linear_desc &b = layer.desc;
            const bool one_mapping = a.c <= 1 || (a.scheme == b.scheme && a.seed == b.seed && a.block_k == b.block_k &&
                                                  a.block_n == b.block_n && a.step == b.step);
            return a.K == b.K && a.N == b.N && a.c == b.c && a.rank == b.rank && a.weight_dtype == b.weight_dtype &&
                   one_mapping && layer.has_bias == spec.layers[first].has_bias;
        });
    return alike && (!a.rank || share_down(spec, first, parts));
}

ss1_status run_layer(const block_layer &layer, const layer_run_args &args) {
    ss1_linear_args linear = SS1_LINEAR_ARGS_INIT;
    linear.m = args.m;
    linear.x = args.x;
    linear.ldx = args.ldx;
    linear.y = args.y;
    linear.ldy = args.ldy;
    linear.scratch = args.scratch;
    linear.stream = args.stream;
    return run_on_device(layer.state.get(), linear, args.made);
}

ss1_status model_create(const ss1_context *context, const ss1_model_spec *spec, void **out) noexcept {
    return without_exceptions([&] { return create(context, *spec, out); });
}

void model_describe(const void *p, ss1_model_info *info) noexcept {
    const model &m = *static_cast<const model *>(p);
    info->weight_bytes = m.weight_bytes;
    info->parameters = m.parameters;
}

void model_layer(const void *p, size_t i, ss1_layer_info *info) noexcept {
    const auto &[layer, part] = static_cast<const model *>(p)->layers[i];
    const ss1_layer_info whole = info_of(layer);
    info->desc.x_dtype = layer.desc.x_dtype;
    info->desc.y_dtype = layer.desc.y_dtype;
    info->desc.activation = layer.desc.activation;
    info->kernels = whole.kernels;
    // The parts sum to the whole.
    info->weight_bytes = whole.weight_bytes * (part + 1) / layer.parts - whole.weight_bytes * part / layer.parts;
    info->flops_per_row = whole.flops_per_row / static_cast<double>(layer.parts);
}

void model_destroy(void *p) noexcept {
    delete static_cast<model *>(p);
}

size_t session_bytes(const void *p, size_t max_batch, size_t max_tokens) noexcept {
    const model &m = *static_cast<const model *>(p);
    size_t bytes = SIZE_MAX;
    without_exceptions([&] {
        carver on_device, pinned;
        m.family->carve(m.graph.get(), max_batch, max_tokens, on_device, pinned);
        if (on_device.fits() && pinned.fits()) bytes = on_device.bytes() + pinned.bytes();
        return SS1_OK;
    });
    return bytes;
}

ss1_status session_create(const void *p, size_t max_batch, size_t max_tokens, void **out) noexcept {
    return without_exceptions(
        [&] { return create_session(*static_cast<const model *>(p), max_batch, max_tokens, out); });
}

ss1_status session_run(void *p, const ss1_model_run *run) noexcept {
    return without_exceptions([&] { return run_session(*static_cast<session *>(p), *run); });
}

void session_destroy(void *p) noexcept {
    delete static_cast<session *>(p);
}

}  // namespace ss1::cuda
