// SPDX-License-Identifier: Apache-2.0
// The C API: checks arguments, converts structs of any version, stops exceptions and calls the parts. It has no logic
// of its own.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/abi.hpp"
#include "base/context.hpp"
#include "base/float_mode.hpp"
#include "base/span.hpp"
#include "base/status.hpp"
#include "convert/calibration.hpp"
#include "convert/convert.hpp"
#include "convert/expand_layer.hpp"
#include "convert/fit_linear.hpp"
#include "encode/encode.hpp"
#include "io/file.hpp"
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
using ss1::check_array;
using ss1::fill_struct;
using ss1::guarded;
using ss1::matrix_span;
using ss1::memory_span;
using ss1::take_options;
using ss1::take_struct;

#define SS1_NOT_NULL(argument) SS1_CHECK(argument, SS1_ERROR_INVALID_ARGUMENT, #argument " is NULL")

// Checks the arguments of a run from layer `first` to layer `last` and fills in leading dimensions of 0.
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

// Calls `run(args)` with scratch of `bytes(m)` bytes: the caller's, or a block of the context's pool, which allocates
// only if the block is too small.
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

// The arguments that ss1_project() and ss1_expand() share: a dense weight and its tied form, one of them an output.
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
    SS1_TRY(take_struct(desc, "desc", pair.desc));
    size_t kz = 0;
    SS1_TRY(ss1::linear_resolve(pair.desc, &kz));
    SS1_CHECK(pair.desc.rank == 0, SS1_ERROR_INVALID_ARGUMENT, "desc.rank=%zu must be 0: z is the tied part alone",
              pair.desc.rank);
    const size_t K = pair.desc.K, N = pair.desc.N;
    pair.ldw = ldw ? ldw : K;
    pair.ldz = ldz ? ldz : kz;
    SS1_CHECK(pair.ldw >= K, SS1_ERROR_INVALID_ARGUMENT, "ldw=%zu is below K=%zu", ldw, K);
    SS1_CHECK(pair.ldz >= kz, SS1_ERROR_INVALID_ARGUMENT, "ldz=%zu is below the stored columns Kz=%zu", ldz, kz);
    SS1_TRY(matrix_span("weight", weight, N, K, pair.ldw, pair.weight));
    return matrix_span("z", z, N, kz, pair.ldz, pair.z);
}

// Calls `load(directory)` while the caller's files stand for the disk.
template <class F>
ss1_status with_files(const ss1_memory_file *files, size_t n, F &&load) {
    SS1_CHECK(n >= 1 && n <= 100'000, SS1_ERROR_INVALID_ARGUMENT, "n=%zu is not in [1, 100000]", n);
    SS1_NOT_NULL(files);
    SS1_TRY(check_array(files, n, "files"));
    std::vector<ss1_memory_file> known(n);
    for (size_t i = 0; i < n; ++i) known[i] = ss1::element(files, i);
    const ss1::memory_folder folder(known);
    SS1_TRY(folder.check());
    return load(ss1::memory_folder::root);
}

ss1_status load_tokenizer(ss1_context &context, const char *directory, ss1_tokenizer *&tokenizer) {
    auto made = std::make_unique<ss1_tokenizer>();
    const ss1::default_float_mode mode;
    SS1_TRY(ss1::tokenizer_load(context, directory, *made));
    tokenizer = made.release();
    return SS1_OK;
}

// The tensors of a run in this library's size. A list with more than max_slots names a tensor that does not exist or
// repeats one: the first max_slots + 1 suffice for the error.
struct run_tensors {
    size_t n;
    ss1_tensor tensors[ss1::max_slots + 1];

    ss1_status take(const ss1_tensor *given, size_t given_n, const char *name) noexcept {
        n = std::min(given_n, std::size(tensors));
        SS1_TRY(check_array(given, n, name));
        for (size_t i = 0; i < n; ++i) tensors[i] = ss1::element(given, i);
        return SS1_OK;
    }
};

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

ss1_status ss1_context_create(const ss1_context_options *given, ss1_context **context) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        ss1_context_options options;
        SS1_TRY(take_options(given, "options", options));
        ss1_context *created = nullptr;
        SS1_TRY(ss1::context_create(options, &created));
        std::unique_ptr<ss1_context, decltype(&ss1::context_release)> made(created, ss1::context_release);
        SS1_TRY(ss1::backend_use(*made, options.backend));
        *context = made.release();
        return SS1_OK;
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
        return fill_struct(info, "info", [&](ss1_info &filled) {
            ss1::context_info(*context, filled);
            return SS1_OK;
        });
    });
}

ss1_status ss1_linear_resolve(ss1_linear_desc *desc, size_t *stored_columns) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(desc);
        ss1_linear_desc resolved;
        SS1_TRY(take_struct(desc, "desc", resolved));
        SS1_TRY(ss1::linear_resolve(resolved, stored_columns));
        ss1::give_struct(resolved, desc);
        return SS1_OK;
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
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z;
        weights.ldz = pair.ldz;
        ss1::expand(pair.desc, weights, weight, pair.ldw);
        return SS1_OK;
    });
}

ss1_status ss1_linear_expand(const ss1_linear_desc *desc, const ss1_linear_weights *weights, float *weight,
                             size_t ldw) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(desc);
        SS1_NOT_NULL(weights);
        SS1_NOT_NULL(weight);
        ss1_linear_desc full_desc;
        ss1_linear_weights from;
        SS1_TRY(take_struct(desc, "desc", full_desc));
        SS1_TRY(take_struct(weights, "weights", from));
        size_t kz = 0;
        SS1_TRY(ss1::linear_resolve(full_desc, &kz));
        SS1_TRY(ss1::linear_check_weights(full_desc, 1, from));
        const size_t K = full_desc.K, N = full_desc.N, r = full_desc.rank;
        SS1_CHECK(ldw == 0 || ldw >= K, SS1_ERROR_INVALID_ARGUMENT, "ldw=%zu is below K=%zu", ldw, K);
        if (ldw == 0) ldw = K;
        memory_span to{}, z{}, u{}, v{};
        SS1_TRY(matrix_span("weight", weight, N, K, ldw, to));
        if (kz) SS1_TRY(matrix_span("weights.z", from.z, N, kz, from.ldz, z));
        if (r) SS1_TRY(matrix_span("weights.u", from.u, N, r, r, u));
        if (r) SS1_TRY(matrix_span("weights.v", from.v, r, K, K, v));
        SS1_TRY(check_apart("weight", to, "weights.z", z));
        SS1_TRY(check_apart("weight", to, "weights.u", u));
        SS1_TRY(check_apart("weight", to, "weights.v", v));
        const ss1::default_float_mode mode;
        ss1::expand(full_desc, from, weight, ldw);
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
        ss1_linear_desc full_desc;
        ss1_linear_weights full_weights;
        SS1_TRY(take_struct(desc, "desc", full_desc));
        SS1_TRY(take_struct(weights, "weights", full_weights));
        return ss1::layer_create(*context, full_desc, full_weights, layer);
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
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
        ss1_linear_args args;
        SS1_TRY(take_struct(given, "args", args));
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
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
        ss1_linear_args args;
        SS1_TRY(take_struct(given, "args", args));
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
        return fill_struct(info, "info", [&](ss1_layer_info &filled) {
            filled = layer->info;
            return SS1_OK;
        });
    });
}

ss1_status ss1_bags_create(ss1_context *context, size_t d, const ss1_table *tables, size_t n, ss1_bags **bags) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(tables);
        SS1_NOT_NULL(bags);
        SS1_CHECK(d >= 1 && d <= 65536, SS1_ERROR_INVALID_ARGUMENT, "d=%zu is not in [1, 65536]", d);
        SS1_CHECK(n >= 1 && n <= 100'000, SS1_ERROR_INVALID_ARGUMENT, "n=%zu is not in [1, 100000]", n);
        SS1_TRY(check_array(tables, n, "tables"));
        std::vector<ss1_table> full_tables(n);
        for (size_t i = 0; i < n; ++i) full_tables[i] = ss1::element(tables, i);
        auto made = std::make_unique<ss1_bags>();
        SS1_TRY(ss1::bags_create(*context, d, full_tables, *made));
        *bags = made.release();
        return SS1_OK;
    });
}

void ss1_bags_destroy(ss1_bags **bags) {
    if (!bags) return;
    delete *bags;
    *bags = nullptr;
}

ss1_status ss1_bags_run(const ss1_bags *bags, const ss1_bags_args *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(bags);
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
        ss1_bags_args args;
        SS1_TRY(take_struct(given, "args", args));
        return ss1::bags_run(*bags, args);
    });
}

ss1_status ss1_model_load(ss1_context *context, const char *directory, const ss1_model_options *given,
                          ss1_model **model) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_CHECK(*directory, SS1_ERROR_INVALID_ARGUMENT, "directory is an empty path");
        SS1_NOT_NULL(model);
        ss1_model_options options;
        SS1_TRY(take_options(given, "options", options));
        const ss1::default_float_mode mode;
        return ss1::model_load(*context, directory, options, model);
    });
}

ss1_status ss1_model_load_memory(ss1_context *context, const ss1_memory_file *files, size_t n,
                                 const ss1_model_options *given, ss1_model **model) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(model);
        ss1_model_options options;
        SS1_TRY(take_options(given, "options", options));
        const ss1::default_float_mode mode;
        return with_files(files, n,
                          [&](const char *directory) { return ss1::model_load(*context, directory, options, model); });
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
        return fill_struct(tensor, "tensor", [&](ss1_tensor &filled) { return ss1::model_input(*model, i, filled); });
    });
}

ss1_status ss1_model_output(const ss1_model *model, size_t i, ss1_tensor *tensor) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(tensor);
        return fill_struct(tensor, "tensor", [&](ss1_tensor &filled) { return ss1::model_output(*model, i, filled); });
    });
}

ss1_status ss1_model_layer(const ss1_model *model, size_t i, ss1_model_layer_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(info);
        return fill_struct(info, "info",
                           [&](ss1_model_layer_info &filled) { return ss1::model_layer(*model, i, filled); });
    });
}

ss1_status ss1_model_describe(const ss1_model *model, ss1_model_info *info) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(info);
        return fill_struct(info, "info", [&](ss1_model_info &filled) {
            ss1::model_describe(*model, filled);
            return SS1_OK;
        });
    });
}

ss1_status ss1_model_label(const ss1_model *model, size_t i, const char **label) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(label);
        return ss1::model_label(*model, i, *label);
    });
}

ss1_status ss1_model_prompt(const ss1_model *model, size_t i, const char **name, const char **text) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(name);
        SS1_NOT_NULL(text);
        return ss1::model_prompt(*model, i, *name, *text);
    });
}

ss1_status ss1_model_update_rows(ss1_model *model, const ss1_update_rows_args *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
        ss1_update_rows_args args;
        SS1_TRY(take_struct(given, "args", args));
        const ss1::default_float_mode mode;
        return ss1::model_update_rows(*model, args);
    });
}

ss1_status ss1_model_stage(const ss1_model *model, size_t i, const char **name) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(name);
        return ss1::model_stage(*model, i, *name);
    });
}

ss1_status ss1_session_bytes(const ss1_model *model, const ss1_session_options *given, size_t *bytes) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(bytes);
        ss1_session_options options;
        SS1_TRY(take_options(given, "options", options));
        return ss1::session_bytes(*model, options, *bytes);
    });
}

ss1_status ss1_session_create(ss1_model *model, const ss1_session_options *given, ss1_session **session) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(session);
        ss1_session_options options;
        SS1_TRY(take_options(given, "options", options));
        return ss1::session_create(*model, options, session);
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
        run_tensors in, out;
        SS1_TRY(in.take(inputs, n_inputs, "inputs"));
        SS1_TRY(out.take(outputs, n_outputs, "outputs"));
        SS1_TRY(ss1::session_run(*session, in.tensors, in.n, out.tensors, out.n));
        for (size_t i = 0; i < out.n; ++i) {
            ss1_tensor *given = ss1::address_of(outputs, i);
            given->rank = out.tensors[i].rank;
            std::copy_n(out.tensors[i].shape, given->rank, given->shape);
        }
        return SS1_OK;
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
        const ss1::run_scope scope(session->control, ss1::run_control::being_set);
        SS1_TRY(scope.check());
        session->control.set_deadline(seconds);
        return SS1_OK;
    });
}

ss1_status ss1_tokenizer_load(ss1_context *context, const char *directory, ss1_tokenizer **tokenizer) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_CHECK(*directory, SS1_ERROR_INVALID_ARGUMENT, "directory is an empty path");
        SS1_NOT_NULL(tokenizer);
        return load_tokenizer(*context, directory, *tokenizer);
    });
}

ss1_status ss1_tokenizer_load_memory(ss1_context *context, const ss1_memory_file *files, size_t n,
                                     ss1_tokenizer **tokenizer) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(tokenizer);
        return with_files(files, n,
                          [&](const char *directory) { return load_tokenizer(*context, directory, *tokenizer); });
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
        return fill_struct(info, "info", [&](ss1_tokenizer_info &filled) {
            ss1::tokenizer_describe(*tokenizer, filled);
            return SS1_OK;
        });
    });
}

ss1_status ss1_tokenizer_token(const ss1_tokenizer *tokenizer, int64_t id, const char **token) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(tokenizer);
        SS1_NOT_NULL(token);
        const size_t size = tokenizer->vocabulary.size();
        SS1_CHECK(id >= 0 && static_cast<uint64_t>(id) < size, SS1_ERROR_INVALID_ARGUMENT,
                  "id=%lld is not in [0, vocab_size=%zu)", static_cast<long long>(id), size);
        const char *const found = tokenizer->vocabulary.token(static_cast<size_t>(id));
        SS1_CHECK(found, SS1_ERROR_INVALID_ARGUMENT, "id=%lld has no token: the vocabulary leaves it out",
                  static_cast<long long>(id));
        *token = found;
        return SS1_OK;
    });
}

ss1_status ss1_tokenizer_encode(const ss1_tokenizer *tokenizer, const ss1_tokenize_args *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(tokenizer);
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
        ss1_tokenize_args args;
        SS1_TRY(take_struct(given, "args", args));
        return ss1::tokenizer_encode(*tokenizer, args);
    });
}

ss1_status ss1_linear_fit(const ss1_linear_desc *given_desc, const ss1_fit_args *given) {
    return guarded(__func__, [&] {
        SS1_CHECK(given_desc, SS1_ERROR_INVALID_ARGUMENT, "desc is NULL");
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "args is NULL");
        ss1_linear_desc desc;
        ss1_fit_args args;
        SS1_TRY(take_struct(given_desc, "desc", desc));
        SS1_TRY(take_struct(given, "args", args));
        size_t kz = 0;
        SS1_TRY(ss1::linear_resolve(desc, &kz));
        const ss1::default_float_mode mode;
        return ss1::fit_linear(desc, kz, args);
    });
}

ss1_status ss1_calibration_create(ss1_model *model, ss1_calibration **calibration) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(calibration);
        *calibration = std::make_unique<ss1_calibration>(*model).release();
        return SS1_OK;
    });
}

void ss1_calibration_destroy(ss1_calibration **calibration) {
    if (!calibration) return;
    delete *calibration;
    *calibration = nullptr;
}

void ss1_calibration_observe(void *calibration, const ss1_layer_rows *given) {
    if (calibration) ss1::calibration_observe(*static_cast<ss1_calibration *>(calibration), given);
}

ss1_status ss1_calibration_layer(const ss1_calibration *calibration, const char *layer,
                                 ss1_layer_statistics *statistics) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(calibration);
        SS1_NOT_NULL(layer);
        SS1_NOT_NULL(statistics);
        ss1_layer_statistics filled;
        SS1_TRY(take_struct(statistics, "statistics", filled));
        SS1_TRY(ss1::calibration_layer(*calibration, layer, filled));
        ss1::give_struct(filled, statistics);
        return SS1_OK;
    });
}

ss1_status ss1_calibration_change(ss1_calibration *calibration, double *change) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(calibration);
        SS1_NOT_NULL(change);
        return ss1::calibration_change(*calibration, *change);
    });
}

ss1_status ss1_model_convert(ss1_context *context, const char *directory, const char *output,
                             const ss1_convert_options *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_CHECK(*directory, SS1_ERROR_INVALID_ARGUMENT, "directory is an empty path");
        SS1_NOT_NULL(output);
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "options is NULL");
        ss1_convert_options options;
        ss1_linear_desc desc;
        ss1_model_options load;
        SS1_TRY(take_struct(given, "options", options));
        SS1_TRY(take_options(options.desc, "options.desc", desc));
        SS1_TRY(take_options(options.load, "options.load", load));
        options.desc = &desc;
        options.load = &load;
        const ss1::default_float_mode mode;
        return ss1::convert_model(*context, directory, output, options);
    });
}

ss1_status ss1_model_expand(ss1_context *context, const char *directory, const ss1_model_options *given,
                            const char *layer, float *weight, size_t ldw) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(context);
        SS1_NOT_NULL(directory);
        SS1_CHECK(*directory, SS1_ERROR_INVALID_ARGUMENT, "directory is an empty path");
        SS1_NOT_NULL(layer);
        SS1_NOT_NULL(weight);
        ss1_model_options load;
        SS1_TRY(take_options(given, "load", load));
        const ss1::default_float_mode mode;
        return ss1::expand_layer(*context, directory, load, layer, weight, ldw);
    });
}

ss1_status ss1_model_encode(ss1_model *model, const ss1_tokenizer *tokenizer, const ss1_encode_args *given) {
    return guarded(__func__, [&] {
        SS1_NOT_NULL(model);
        SS1_NOT_NULL(tokenizer);
        SS1_NOT_NULL(given);
        ss1_encode_args args;
        SS1_TRY(take_struct(given, "args", args));
        const ss1::default_float_mode mode;
        return ss1::model_encode(*model, *tokenizer, args);
    });
}

}  // extern "C"
