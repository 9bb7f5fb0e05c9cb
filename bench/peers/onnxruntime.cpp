// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime: Gemm in f32, MatMulIntegerToFloat for u8 times s8, each with constant weights that it packs once.
// Opened at run time; its package for npm holds the library without a header, so the few entries of its function table
// that are needed stand here with their numbers, which never change (the table only grows at its end).
#include <dlfcn.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

#include "onnx_model.hpp"
#include "peer.h"
#include "ss1/ss1.h"

namespace {

struct opaque;  // every object of its API
using status = opaque *;

enum slot : size_t {
    get_error_message = 2,
    create_session_from_array = 8,
    run_session = 9,
    create_session_options = 10,
    set_optimization_level = 23,
    create_tensor_with_data = 49,
    create_cpu_memory_info = 69,
    release_env = 92,
    release_status = 93,
    release_memory_info = 94,
    release_session = 95,
    release_value = 96,
    release_session_options = 100,
    create_env_with_global_pools = 119,
    disable_per_session_threads = 120,
    create_threading_options = 121,
    release_threading_options = 122,
    add_session_config = 130,
    set_global_intra_op_threads = 147,
    set_global_inter_op_threads = 148,
    set_global_spin_control = 149
};

struct api_base {
    void *const *(*get_api)(uint32_t version);
    const char *(*get_version)();
};

void *const *api;
constexpr uint32_t api_version = 12;  // any that has the entries above

template <class result, class... parameters>
result call(slot entry, parameters... arguments) {
    return reinterpret_cast<result (*)(parameters...)>(api[entry])(arguments...);
}

void check(status s) {
    if (!s) return;
    const std::string message = call<const char *>(get_error_message, static_cast<const opaque *>(s));
    call<void>(release_status, s);
    throw std::runtime_error(message);
}

template <slot entry>
struct release {
    void operator()(opaque *object) const { call<void>(entry, object); }
};
template <slot entry>
using handle = std::unique_ptr<opaque, release<entry>>;

template <class owner, class... parameters>
owner make(slot entry, parameters... arguments) {
    opaque *object = nullptr;
    check(call<status>(entry, arguments..., &object));
    return owner(object);
}

// One pool for all sessions: each copy of the weights is a session.
handle<release_env> make_env(uint32_t threads) {
    const auto options = make<handle<release_threading_options>>(create_threading_options);
    check(call<status>(set_global_intra_op_threads, options.get(), static_cast<int>(threads)));
    check(call<status>(set_global_inter_op_threads, options.get(), 1));
    // Its threads would spin through the other contenders' samples: 5 to 15 times slower OpenMP regions beside them.
    check(call<status>(set_global_spin_control, options.get(), 0));
    constexpr int only_errors = 3;
    return make<handle<release_env>>(create_env_with_global_pools, only_errors, "ss1", options.get());
}

std::string model_of(const ss1_peer_problem &p) {
    using namespace onnx_model;
    const constant bias = {"bias", f32, {p.n}, p.bias, p.n * sizeof(float)};
    if (p.precision == SS1_PEER_F32)
        return encode({"Gemm", "", {"x", "w", "bias"}, {{"transB", 1}}},
                      {{"w", f32, {p.n, p.k}, p.weight, p.n * p.k * sizeof(float)}, bias}, f32, p.m, p.k, p.n);
    const int8_t *weight = static_cast<const int8_t *>(p.weight);
    std::vector<int8_t> transposed(p.k * p.n);
    for (size_t j = 0; j < p.n; ++j)
        for (size_t i = 0; i < p.k; ++i) transposed[i * p.n + j] = weight[j * p.k + i];
    const uint8_t zero_point = 128;
    return encode({"MatMulIntegerToFloat", "com.microsoft", {"x", "w", "x_scale", "w_scale", "x_zero", "", "bias"}, {}},
                  {{"w", s8, {p.k, p.n}, transposed.data(), transposed.size()},
                   {"x_scale", f32, {}, &p.x_scale, sizeof(float)},
                   {"w_scale", f32, {p.n}, p.weight_scale, p.n * sizeof(float)},
                   {"x_zero", u8, {}, &zero_point, 1},
                   bias},
                  u8, p.m, p.k, p.n);
}

struct layer {
    // In this order: the sessions go before the environment whose threads they use.
    handle<release_env> env;
    handle<release_session_options> options;
    handle<release_memory_info> memory;
    handle<release_value> x, y;
    std::vector<handle<release_session>> sessions;

    explicit layer(const ss1_peer_problem &p);
    handle<release_value> tensor(const void *data, size_t rows, size_t columns, size_t item, int type) const;
};

handle<release_value> layer::tensor(const void *data, size_t rows, size_t columns, size_t item, int type) const {
    const int64_t shape[2] = {static_cast<int64_t>(rows), static_cast<int64_t>(columns)};
    return make<handle<release_value>>(create_tensor_with_data, static_cast<const opaque *>(memory.get()),
                                       const_cast<void *>(data), rows * columns * item,
                                       static_cast<const int64_t *>(shape), size_t{2}, type);
}

layer::layer(const ss1_peer_problem &p) : env(make_env(p.threads)) {
    options = make<handle<release_session_options>>(create_session_options);
    constexpr int all_optimizations = 99, arena_allocator = 1, default_memory = 0;
    check(call<status>(disable_per_session_threads, options.get()));
    check(call<status>(set_optimization_level, options.get(), all_optimizations));
    // Its threads may spin while it runs, and not on another contender's core afterwards.
    check(call<status>(add_session_config, options.get(), "session.force_spinning_stop", "1"));
    memory = make<handle<release_memory_info>>(create_cpu_memory_info, arena_allocator, default_memory);
    const bool bytes = p.precision == SS1_PEER_U8S8;
    x = tensor(p.x, p.m, p.k, bytes ? 1 : sizeof(float), bytes ? onnx_model::u8 : onnx_model::f32);
    y = tensor(p.y, p.m, p.n, sizeof(float), onnx_model::f32);
    const std::string model = model_of(p);
    for (size_t i = 0; i < p.copies; ++i)
        sessions.push_back(make<handle<release_session>>(create_session_from_array, env.get(),
                                                         static_cast<const void *>(model.data()), model.size(),
                                                         static_cast<const opaque *>(options.get())));
}

void *create(const ss1_peer_problem *p, char *why, size_t why_bytes) try {
    if (p->precision != SS1_PEER_BF16 && p->output == SS1_PEER_TO_F32 && p->activation == SS1_ACTIVATION_NONE)
        return new layer(*p);
    std::snprintf(why, why_bytes, "f32 or u8 times s8, to f32, without activation only");
    return nullptr;
} catch (const std::exception &error) {
    std::snprintf(why, why_bytes, "%s", error.what());
    return nullptr;
}

int run(void *created, size_t copy) {
    const layer &l = *static_cast<layer *>(created);
    const char *const x_name = "x", *const y_name = "y";
    const opaque *const x = l.x.get();
    opaque *y = l.y.get();
    const status s = call<status>(run_session, l.sessions[copy].get(), static_cast<const opaque *>(nullptr), &x_name,
                                  &x, size_t{1}, &y_name, size_t{1}, &y);
    if (s) call<void>(release_status, s);
    return s != nullptr;
}

void destroy(void *created) {
    delete static_cast<layer *>(created);
}

}  // namespace

SS1_PEER_EXPORT const ss1_peer *ss1_peer_entry(char *why, size_t why_bytes) {
    const char *path = std::getenv("SS1_ONNXRUNTIME");
    void *opened = dlopen(path ? path : SS1_ONNXRUNTIME_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!opened && !path) opened = dlopen("libonnxruntime.so.1", RTLD_NOW | RTLD_LOCAL);
    using base_fn = const api_base *(*)();
    const auto base = opened ? reinterpret_cast<base_fn>(dlsym(opened, "OrtGetApiBase")) : nullptr;
    if (base) api = base()->get_api(api_version);
    if (!api) {
        std::snprintf(why, why_bytes,
                      "%s (bench/peers/get_onnxruntime.sh fetches it; SS1_ONNXRUNTIME names another file)",
                      opened ? "no API of version 12 in it" : dlerror());
        return nullptr;
    }
    // A copy of the weights is a session, which costs some 100 KB and a millisecond however small the layer.
    static const ss1_peer peer = {SS1_PEER_ABI, "ONNX Runtime", base()->get_version(), 128, create, run, destroy};
    return &peer;
}
