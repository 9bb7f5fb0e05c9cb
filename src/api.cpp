// SPDX-License-Identifier: Apache-2.0
// The C API: checks arguments, catches what must not cross the boundary, calls the parts. No logic of its own.
#include <cmath>
#include <cstring>
#include <memory>

#include "base/context.hpp"
#include "base/float_mode.hpp"
#include "base/span.hpp"
#include "base/status.hpp"
#include "convert/convert.hpp"
#include "mapping/mapping.hpp"
#include "mapping/project.hpp"
#include "model/model.hpp"
#include "op/backend.hpp"
#include "op/bags.hpp"
#include "op/linear.hpp"
#include "op/tower.hpp"
#include "text/tokenizer.hpp"

namespace {

using ss1::check_apart;
using ss1::guarded;
using ss1::matrix_span;
using ss1::memory_span;

#define SS1_NOT_NULL(argument) SS1_CHECK(argument, SS1_ERROR_INVALID_ARGUMENT, #argument " is NULL")

// A caller's struct: its size is the version of the header it was compiled with.
template <class T>
ss1_status check_struct(const T &value, const char *name, const char *init) noexcept {
    SS1_CHECK(value.struct_size == sizeof(T), SS1_ERROR_INVALID_ARGUMENT,
              "%s.struct_size=%u is not %zu: set it with %s", name, value.struct_size, sizeof(T), init);
    return SS1_OK;
}

// The arguments of a run from layer `first` to layer `last`; leading dimensions of 0 are filled in.
ss1_status check_run(const ss1_linear_desc &first, const ss1_linear_desc &last, ss1_linear_args &args) noexcept {
    const size_t K = first.K, N = last.N;
    const size_t x_size = ss1::size_of(static_cast<ss1::dtype>(first.x_dtype));
    const size_t y_size = ss1::size_of(static_cast<ss1::dtype>(last.y_dtype));
    SS1_CHECK(args.x, SS1_ERROR_INVALID_ARGUMENT, "args.x is NULL");
    SS1_CHECK(args.y, SS1_ERROR_INVALID_ARGUMENT, "args.y is NULL");
    if (args.ldx == 0) args.ldx = K;
    if (args.ldy == 0) args.ldy = N;
    SS1_CHECK(args.ldx >= K, SS1_ERROR_INVALID_ARGUMENT, "args.ldx=%zu is below K=%zu", args.ldx, K);
    SS1_CHECK(args.ldy >= N, SS1_ERROR_INVALID_ARGUMENT, "args.ldy=%zu is below N=%zu", args.ldy, N);
    memory_span x{}, y{}, residual{};
    SS1_TRY(matrix_span("args.x", args.x, args.m, K, args.ldx, x, x_size));
    SS1_TRY(matrix_span("args.y", args.y, args.m, N, args.ldy, y, y_size));
    SS1_TRY(check_apart("args.y", y, "args.x", x));
    if (args.residual) {
        if (args.ldr == 0) args.ldr = N;
        SS1_CHECK(args.ldr >= N, SS1_ERROR_INVALID_ARGUMENT, "args.ldr=%zu is below N=%zu", args.ldr, N);
        SS1_TRY(matrix_span("args.residual", args.residual, args.m, N, args.ldr, residual, y_size));
        if (args.residual != args.y || args.ldr != args.ldy)
            SS1_TRY(check_apart("args.y", y, "args.residual", residual));
    }
    SS1_CHECK(reinterpret_cast<uintptr_t>(args.scratch) % 64 == 0, SS1_ERROR_INVALID_ARGUMENT,
              "args.scratch=%p is not a multiple of 64", args.scratch);
    return SS1_OK;
}

// A caller's struct of this header or of an earlier one, when it had `first_size` bytes; what it lacks is 0.
template <class T>
ss1_status take_struct(const T &given, size_t first_size, const char *name, const char *init, T &taken) noexcept {
    if (given.struct_size != first_size) SS1_TRY(check_struct(given, name, init));
    taken = {};
    std::memcpy(&taken, &given, given.struct_size);
    taken.struct_size = sizeof taken;
    return SS1_OK;
}

// 0.1's lacked the last two fields.
ss1_status take_args(const ss1_linear_args *given, ss1_linear_args &args) noexcept {
    SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
    return take_struct(*given, offsetof(ss1_linear_args, residual), "args", "SS1_LINEAR_ARGS_INIT", args);
}

// 0.1's ended before weight_dtype.
constexpr size_t first_model_options = offsetof(ss1_model_options, weight_dtype);
// 0.1's ended before n_labels.
constexpr size_t first_model_info = offsetof(ss1_model_info, n_labels);

ss1_status take_options(const ss1_convert_options &given, ss1_convert_options &options) noexcept {
    constexpr size_t first_size = offsetof(ss1_convert_options, load) + first_model_options;
    SS1_TRY(take_struct(given, first_size, "options", "SS1_CONVERT_OPTIONS_INIT", options));
    const ss1_model_options load = options.load;
    return take_struct(load, first_model_options, "options.load", "SS1_MODEL_OPTIONS_INIT", options.load);
}

// Calls `run(args)` with scratch: the caller's, or a block of the context's pool, which allocates only where the block
// is too small. `bytes(m)` says how much.
template <class B, class F>
ss1_status run_with_scratch(const ss1_context &context, ss1_linear_args &args, B &&bytes, F &&run) noexcept {
    const size_t needed = args.scratch ? 0 : bytes(args.m);
    if (needed == 0) return run(args);
    ss1::buffer *block = context.scratch.take();
    SS1_CHECK(block, SS1_ERROR_OUT_OF_MEMORY, "no memory for a scratch block");
    ss1_status status = block->bytes() < needed ? block->allocate(context, needed) : SS1_OK;
    if (status == SS1_OK) {
        args.scratch = block->data();
        status = run(args);
    }
    context.scratch.give(block);
    return status;
}

ss1_status check_chain(const ss1_layer *const *layers, size_t n) noexcept {
    SS1_CHECK(n >= 1, SS1_ERROR_INVALID_ARGUMENT, "n=0: a tower has at least one layer");
    for (size_t i = 0; i < n; ++i) {
        SS1_CHECK(layers[i], SS1_ERROR_INVALID_ARGUMENT, "layers[%zu] is NULL", i);
        if (i == 0) continue;
        const ss1_linear_desc &before = layers[i - 1]->desc, &desc = layers[i]->desc;
        SS1_CHECK(&*layers[i]->context == &*layers[0]->context, SS1_ERROR_INVALID_ARGUMENT,
                  "layers[%zu] is of another context than layers[0]", i);
        SS1_CHECK(desc.K == before.N, SS1_ERROR_INVALID_ARGUMENT, "layers[%zu] has K=%zu, layers[%zu] before it N=%zu",
                  i, desc.K, i - 1, before.N);
        SS1_CHECK(desc.x_dtype == before.y_dtype, SS1_ERROR_INVALID_ARGUMENT,
                  "layers[%zu] has x_dtype=%d, layers[%zu] before it y_dtype=%d", i, static_cast<int>(desc.x_dtype),
                  i - 1, static_cast<int>(before.y_dtype));
    }
    return SS1_OK;
}

// What ss1_project() and ss1_expand() have in common: a dense weight and its stored form, one of which is written.
struct weight_pair {
    ss1_linear_desc desc;  // resolved
    size_t ldw, ldz;
    memory_span weight, z;
};

ss1_status check_weights(const ss1_linear_desc *desc, const float *weight, size_t ldw, const float *z, size_t ldz,
                         weight_pair &pair) noexcept {
    SS1_NOT_NULL(desc);
    SS1_NOT_NULL(weight);
    SS1_NOT_NULL(z);
    pair.desc = *desc;
    size_t kz = 0;
    SS1_TRY(ss1::linear_resolve(pair.desc, &kz));
    const size_t K = pair.desc.K, N = pair.desc.N;
    pair.ldw = ldw ? ldw : K;
    pair.ldz = ldz ? ldz : kz;
    SS1_CHECK(pair.ldw >= K, SS1_ERROR_INVALID_ARGUMENT, "ldw=%zu is below K=%zu", ldw, K);
    SS1_CHECK(pair.ldz >= kz, SS1_ERROR_INVALID_ARGUMENT, "ldz=%zu is below the stored columns Kz=%zu", ldz, kz);
    SS1_TRY(matrix_span("weight", weight, N, K, pair.ldw, pair.weight));
    return matrix_span("z", z, N, kz, pair.ldz, pair.z);
}

}  // namespace

extern "C" {

const char *ss1_status_name(ss1_status status) {
    switch (status) {
        case SS1_OK:
            return "SS1_OK";
        case SS1_ERROR_INVALID_ARGUMENT:
            return "SS1_ERROR_INVALID_ARGUMENT";
        case SS1_ERROR_UNSUPPORTED:
            return "SS1_ERROR_UNSUPPORTED";
        case SS1_ERROR_OUT_OF_MEMORY:
            return "SS1_ERROR_OUT_OF_MEMORY";
        case SS1_ERROR_BACKEND:
            return "SS1_ERROR_BACKEND";
        case SS1_ERROR_INTERNAL:
            return "SS1_ERROR_INTERNAL";
        case SS1_ERROR_IO:
            return "SS1_ERROR_IO";
        case SS1_ERROR_FORMAT:
            return "SS1_ERROR_FORMAT";
        case SS1_ERROR_CANCELLED:
            return "SS1_ERROR_CANCELLED";
        case SS1_ERROR_DEADLINE:
            return "SS1_ERROR_DEADLINE";
    }
    return "SS1_ERROR_UNKNOWN";
}

const char *ss1_last_error(void) {
    return ss1::last_error();
}
const char *ss1_version(void) {
    return SS1_VERSION_STRING;
}

ss1_status ss1_context_create(const ss1_context_options *options, ss1_context **context) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        const ss1_context_options defaults = SS1_CONTEXT_OPTIONS_INIT;
        if (!options) options = &defaults;
        SS1_TRY(check_struct(*options, "options", "SS1_CONTEXT_OPTIONS_INIT"));
        ss1_context *made = nullptr;
        SS1_TRY(ss1::context_create(*options, &made));
        const ss1_status status = ss1::backend_use(*made, options->backend);
        if (status == SS1_OK) {
            *context = made;
        } else {
            ss1::context_release(made);
        }
        return status;
    });
}

void ss1_context_destroy(ss1_context **context) {
    if (!context || !*context) return;
    ss1::context_release(*context);
    *context = nullptr;
}

ss1_status ss1_context_load_backend(ss1_context *context, const char *name) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(name);
        return ss1::backend_use(*context, name);
    });
}

ss1_status ss1_get_info(const ss1_context *context, ss1_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(info);
        SS1_TRY(check_struct(*info, "info", "SS1_INFO_INIT"));
        ss1::context_info(*context, *info);
        return SS1_OK;
    });
}

ss1_status ss1_linear_resolve(ss1_linear_desc *desc, size_t *stored_columns) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(desc);
        return ss1::linear_resolve(*desc, stored_columns);
    });
}

ss1_status ss1_project(const ss1_linear_desc *desc, const float *weight, size_t ldw, const float *second_moment,
                       float *z, size_t ldz) {
    return guarded(__func__, [&] {
        weight_pair pair;
        SS1_TRY(check_weights(desc, weight, ldw, z, ldz, pair));
        SS1_TRY(check_apart("z", pair.z, "weight", pair.weight));
        if (second_moment) {
            const size_t K = pair.desc.K;
            memory_span moment{};
            SS1_TRY(matrix_span("second_moment", second_moment, K, K, K, moment));
            SS1_TRY(check_apart("z", pair.z, "second_moment", moment));
        }
        const ss1::default_float_mode mode;
        return ss1::project(pair.desc, weight, pair.ldw, second_moment, z, pair.ldz);
    });
}

ss1_status ss1_expand(const ss1_linear_desc *desc, const float *z, size_t ldz, float *weight, size_t ldw) {
    return guarded(__func__, [&] {
        weight_pair pair;
        SS1_TRY(check_weights(desc, weight, ldw, z, ldz, pair));
        SS1_TRY(check_apart("weight", pair.weight, "z", pair.z));
        const ss1::default_float_mode mode;
        ss1::expand(pair.desc, z, pair.ldz, weight, pair.ldw);
        return SS1_OK;
    });
}

ss1_status ss1_layer_create(ss1_context *context, const ss1_linear_desc *desc, const ss1_linear_weights *weights,
                            ss1_layer **layer) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(desc);
        SS1_NOT_NULL(weights);
        SS1_NOT_NULL(layer);
        return ss1::layer_create(*context, *desc, *weights, layer);
    });
}

void ss1_layer_destroy(ss1_layer **layer) {
    if (!layer) return;
    delete *layer;
    *layer = nullptr;
}

size_t ss1_layer_scratch_bytes(const ss1_layer *layer, size_t m) {
    return layer ? ss1::layer_bytes(*layer->context, *layer, m) : 0;
}

ss1_status ss1_layer_run(const ss1_layer *layer, const ss1_linear_args *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(layer);
        ss1_linear_args args;
        SS1_TRY(take_args(given, args));
        if (args.m == 0) return SS1_OK;
        SS1_TRY(check_run(layer->desc, layer->desc, args));
        SS1_CHECK(!args.residual || layer->adds_residual, SS1_ERROR_UNSUPPORTED,
                  "args.residual is set: backend '%s' adds none", layer->backend->name);
        const ss1_context &context = *layer->context;
        return run_with_scratch(
            context, args, [&](size_t m) { return ss1::layer_bytes(context, *layer, m); },
            [&](const ss1_linear_args &checked) { return ss1::layer_run(context, *layer, checked); });
    });
}

ss1_status ss1_tower_create(const ss1_layer *const *layers, size_t n, ss1_tower **tower) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(layers);
        SS1_NOT_NULL(tower);
        SS1_TRY(check_chain(layers, n));
        auto made = std::make_unique<ss1_tower>();
        SS1_TRY(ss1::tower_create(layers, n, *made));
        *tower = made.release();
        return SS1_OK;
    });
}

void ss1_tower_destroy(ss1_tower **tower) {
    if (!tower) return;
    delete *tower;
    *tower = nullptr;
}

size_t ss1_tower_scratch_bytes(const ss1_tower *tower, size_t m) {
    return tower ? ss1::tower_bytes(*tower->context, *tower, m) : 0;
}

ss1_status ss1_tower_run(const ss1_tower *tower, const ss1_linear_args *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(tower);
        ss1_linear_args args;
        SS1_TRY(take_args(given, args));
        SS1_CHECK(!args.residual, SS1_ERROR_UNSUPPORTED, "args.residual is set: a tower takes none");
        if (args.m == 0) return SS1_OK;
        SS1_TRY(check_run(tower->layers.front()->desc, tower->layers.back()->desc, args));
        const ss1_context &context = *tower->context;
        return run_with_scratch(
            context, args, [&](size_t m) { return ss1::tower_bytes(context, *tower, m); },
            [&](const ss1_linear_args &checked) { return ss1::tower_run(context, *tower, checked, nullptr); });
    });
}

ss1_status ss1_layer_describe(const ss1_layer *layer, ss1_layer_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(layer);
        SS1_NOT_NULL(info);
        SS1_TRY(check_struct(*info, "info", "SS1_LAYER_INFO_INIT"));
        *info = layer->info;
        return SS1_OK;
    });
}

ss1_status ss1_bags_create(ss1_context *context, size_t d, const ss1_table *tables, size_t n, ss1_bags **bags) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(tables);
        SS1_NOT_NULL(bags);
        SS1_CHECK(d >= 1 && d <= 65536, SS1_ERROR_INVALID_ARGUMENT, "d=%zu is not in [1, 65536]", d);
        SS1_CHECK(n >= 1 && n <= 100'000, SS1_ERROR_INVALID_ARGUMENT, "n=%zu is not in [1, 100000]", n);
        auto made = std::make_unique<ss1_bags>();
        SS1_TRY(ss1::bags_create(*context, d, {tables, n}, *made));
        *bags = made.release();
        return SS1_OK;
    });
}

void ss1_bags_destroy(ss1_bags **bags) {
    if (!bags) return;
    delete *bags;
    *bags = nullptr;
}

ss1_status ss1_bags_run(const ss1_bags *bags, const ss1_bags_args *args) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(bags);
        SS1_NOT_NULL(args);
        SS1_TRY(check_struct(*args, "args", "SS1_BAGS_ARGS_INIT"));
        return ss1::bags_run(*bags, *args);
    });
}

ss1_status ss1_model_load(ss1_context *context, const char *directory, const ss1_model_options *given,
                          ss1_model **model) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_NOT_NULL(model);
        ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
        if (given) SS1_TRY(take_struct(*given, first_model_options, "options", "SS1_MODEL_OPTIONS_INIT", options));
        const ss1::default_float_mode mode;
        return ss1::model_load(*context, directory, options, model);
    });
}

void ss1_model_destroy(ss1_model **model) {
    if (!model || !*model) return;
    ss1::model_release(*model);
    *model = nullptr;
}

ss1_status ss1_model_input(const ss1_model *model, size_t i, ss1_tensor *tensor) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(tensor);
        return ss1::model_input(*model, i, *tensor);
    });
}

ss1_status ss1_model_output(const ss1_model *model, size_t i, ss1_tensor *tensor) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(tensor);
        return ss1::model_output(*model, i, *tensor);
    });
}

ss1_status ss1_model_layer(const ss1_model *model, size_t i, ss1_model_layer_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(info);
        SS1_TRY(check_struct(*info, "info", "SS1_MODEL_LAYER_INFO_INIT"));
        return ss1::model_layer(*model, i, *info);
    });
}

ss1_status ss1_model_describe(const ss1_model *model, ss1_model_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(info);
        ss1_model_info filled;
        SS1_TRY(take_struct(*info, first_model_info, "info", "SS1_MODEL_INFO_INIT", filled));
        ss1::model_describe(*model, filled);
        filled.struct_size = info->struct_size;
        std::memcpy(info, &filled, info->struct_size);
        return SS1_OK;
    });
}

ss1_status ss1_model_label(const ss1_model *model, size_t i, const char **label) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(label);
        return ss1::model_label(*model, i, *label);
    });
}

ss1_status ss1_session_bytes(const ss1_model *model, const ss1_session_options *options, size_t *bytes) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(bytes);
        const ss1_session_options defaults = SS1_SESSION_OPTIONS_INIT;
        if (!options) options = &defaults;
        SS1_TRY(check_struct(*options, "options", "SS1_SESSION_OPTIONS_INIT"));
        return ss1::session_bytes(*model, *options, *bytes);
    });
}

ss1_status ss1_session_create(ss1_model *model, const ss1_session_options *options, ss1_session **session) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(session);
        const ss1_session_options defaults = SS1_SESSION_OPTIONS_INIT;
        if (!options) options = &defaults;
        SS1_TRY(check_struct(*options, "options", "SS1_SESSION_OPTIONS_INIT"));
        return ss1::session_create(*model, *options, session);
    });
}

void ss1_session_destroy(ss1_session **session) {
    if (!session || !*session) return;
    ss1::session_destroy(*session);
    *session = nullptr;
}

ss1_status ss1_session_run(ss1_session *session, const ss1_tensor *inputs, size_t n_inputs, ss1_tensor *outputs,
                           size_t n_outputs) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(session);
        SS1_CHECK(inputs || n_inputs == 0, SS1_ERROR_INVALID_ARGUMENT, "inputs is NULL but n_inputs=%zu", n_inputs);
        SS1_CHECK(outputs || n_outputs == 0, SS1_ERROR_INVALID_ARGUMENT, "outputs is NULL but n_outputs=%zu",
                  n_outputs);
        return ss1::session_run(*session, inputs, n_inputs, outputs, n_outputs);
    });
}

ss1_status ss1_session_time_stages(ss1_session *session, double *seconds, size_t n) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(session);
        return ss1::session_time_stages(*session, seconds, n);
    });
}

void ss1_session_cancel(ss1_session *session) {
    if (session) session->control.cancel();
}

ss1_status ss1_session_set_deadline(ss1_session *session, double seconds) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(session);
        SS1_CHECK(std::isfinite(seconds) && seconds >= 0, SS1_ERROR_INVALID_ARGUMENT,
                  "seconds=%g is not a finite number of at least 0", seconds);
        session->control.set_deadline(seconds);
        return SS1_OK;
    });
}

ss1_status ss1_tokenizer_load(ss1_context *context, const char *directory, ss1_tokenizer **tokenizer) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_NOT_NULL(tokenizer);
        auto made = std::make_unique<ss1_tokenizer>();
        const ss1::default_float_mode mode;
        SS1_TRY(ss1::tokenizer_load(*context, directory, *made));
        *tokenizer = made.release();
        return SS1_OK;
    });
}

void ss1_tokenizer_destroy(ss1_tokenizer **tokenizer) {
    if (!tokenizer) return;
    delete *tokenizer;
    *tokenizer = nullptr;
}

ss1_status ss1_tokenizer_describe(const ss1_tokenizer *tokenizer, ss1_tokenizer_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(tokenizer);
        SS1_NOT_NULL(info);
        SS1_TRY(check_struct(*info, "info", "SS1_TOKENIZER_INFO_INIT"));
        ss1::tokenizer_describe(*tokenizer, *info);
        return SS1_OK;
    });
}

ss1_status ss1_tokenizer_token(const ss1_tokenizer *tokenizer, int64_t id, const char **token) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(tokenizer);
        SS1_NOT_NULL(token);
        const size_t size = tokenizer->vocabulary.size();
        SS1_CHECK(id >= 0 && static_cast<uint64_t>(id) < size, SS1_ERROR_INVALID_ARGUMENT,
                  "id=%lld is not in [0, vocab_size=%zu)", static_cast<long long>(id), size);
        *token = tokenizer->vocabulary.token(static_cast<size_t>(id));
        return SS1_OK;
    });
}

ss1_status ss1_tokenizer_encode(const ss1_tokenizer *tokenizer, const ss1_tokenize_args *args) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(tokenizer);
        SS1_NOT_NULL(args);
        SS1_TRY(check_struct(*args, "args", "SS1_TOKENIZE_ARGS_INIT"));
        return ss1::tokenizer_encode(*tokenizer, *args);
    });
}

ss1_status ss1_model_convert(ss1_context *context, const char *directory, const char *output,
                             const ss1_convert_options *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_NOT_NULL(output);
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "options is NULL");
        ss1_convert_options options;
        SS1_TRY(take_options(*given, options));
        const ss1::default_float_mode mode;
        return ss1::convert_model(*context, directory, output, options);
    });
}

}  // extern "C"
