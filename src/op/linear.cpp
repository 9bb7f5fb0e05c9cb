// SPDX-License-Identifier: Apache-2.0
// The linear layer as the API sees it: checks, the CPU backend's vtable, creation in the context's backend.
#include "op/linear.hpp"

#include <cmath>
#include <limits>
#include <memory>

#include "base/span.hpp"
#include "op/backend.hpp"
#include "op/linear_cpu.hpp"

namespace ss1 {
namespace {

void linear_describe(const void *state, ss1_layer_info *info) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    info->kernels = l.kernels.c_str();
    info->weight_bytes = l.packed_bytes();
    info->flops_per_row = static_cast<double>(l.flops_per_row);
}

void linear_destroy(void *state) noexcept {
    delete static_cast<linear *>(state);
}

int cpu_score(const char **) noexcept {
    return 1;
}

int cpu_supports(const ss1_linear_desc *desc, int, size_t parts, const char **reason) noexcept {
    // Tiles are cut by whole output blocks.
    *reason = "the last output block of a part is not whole";
    return parts == 1 || desc->c <= 1 || desc->scheme == SS1_SCHEME_REFERENCE || desc->N <= desc->block_n ||
           desc->N % desc->block_n == 0;
}

// `bf16`: the values will be rounded to bf16. A weight that rounds to infinity would make NaN where x is 0.
ss1_status check_values(const char *what, const float *values, size_t rows, size_t columns, size_t ld,
                        bool bf16) noexcept {
    const float limit = bf16 ? 0x1.ffp127f : std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < rows; ++i)
        for (size_t k = 0; k < columns; ++k) {
            const float value = values[i * ld + k];
            SS1_CHECK(std::fabs(value) < limit, SS1_ERROR_INVALID_ARGUMENT, "weights.%s[%zu,%zu]=%g %s", what, i, k,
                      static_cast<double>(value),
                      std::isfinite(value) ? "does not fit weight_dtype=bf16, whose largest value is 3.38953e+38"
                                           : "is not finite");
        }
    return SS1_OK;
}

}  // namespace

ss1_status linear_check_weights(const ss1_linear_desc &desc, size_t parts, ss1_linear_weights &weights) noexcept {
    const size_t N = parts * desc.N, kz = mapping(desc).stored_columns, r = desc.rank;
    SS1_CHECK(weights.z || kz == 0, SS1_ERROR_INVALID_ARGUMENT, "weights.z is NULL");
    SS1_CHECK(!weights.z || kz, SS1_ERROR_INVALID_ARGUMENT,
              "weights.z is set, but with c=0 and rank=%zu the layer has no tied part", r);
    SS1_CHECK((weights.u && weights.v) || r == 0, SS1_ERROR_INVALID_ARGUMENT, "weights.%s is NULL, but rank=%zu",
              weights.u ? "v" : "u", r);
    SS1_CHECK((!weights.u && !weights.v) || r, SS1_ERROR_INVALID_ARGUMENT, "weights.%s is set, but rank=0",
              weights.u ? "u" : "v");
    if (weights.ldz == 0) weights.ldz = kz;
    SS1_CHECK(weights.ldz >= kz, SS1_ERROR_INVALID_ARGUMENT, "weights.ldz=%zu is below the stored columns Kz=%zu",
              weights.ldz, kz);
    memory_span unused{};
    if (kz) SS1_TRY(matrix_span("weights.z", weights.z, N, kz, weights.ldz, unused));
    if (weights.bias) SS1_TRY(matrix_span("weights.bias", weights.bias, 1, N, N, unused));
    if (r) SS1_TRY(matrix_span("weights.u", weights.u, N, r, r, unused));
    return r ? matrix_span("weights.v", weights.v, r, desc.K, desc.K, unused) : SS1_OK;
}

namespace {

ss1_status check_all_values(const ss1_linear_desc &desc, size_t parts, const ss1_linear_weights &weights) noexcept {
    const size_t N = parts * desc.N, r = desc.rank;
    const bool bf16 = desc.weight_dtype == SS1_DTYPE_BF16;
    if (weights.z) SS1_TRY(check_values("z", weights.z, N, mapping(desc).stored_columns, weights.ldz, bf16));
    if (r) SS1_TRY(check_values("u", weights.u, N, r, r, bf16));
    if (r) SS1_TRY(check_values("v", weights.v, r, desc.K, desc.K, bf16));
    return weights.bias ? check_values("bias", weights.bias, 1, N, N, false) : SS1_OK;
}

}  // namespace

const ss1_backend cpu_backend = {.abi = SS1_BACKEND_ABI,
                                 .struct_size = sizeof(ss1_backend),
                                 .name = "cpu",
                                 .score = cpu_score,
                                 .supports = cpu_supports,
                                 .layer_create = linear_create,
                                 .layer_scratch = linear_scratch,
                                 .layer_run = linear_run,
                                 .layer_describe = linear_describe,
                                 .layer_destroy = linear_destroy,
                                 .rows_scratch = linear_rows_scratch,
                                 .rows_ns = linear_ns,
                                 .rows_run = linear_rows_run,
                                 .model_create = nullptr,
                                 .model_describe = nullptr,
                                 .model_layer = nullptr,
                                 .model_destroy = nullptr,
                                 .session_bytes = nullptr,
                                 .session_create = nullptr,
                                 .session_run = nullptr,
                                 .session_destroy = nullptr};

bool can_stack(const ss1_context &context, const ss1_linear_desc &desc, size_t parts) noexcept {
    const char *reason = "";
    return context.backend->supports(&desc, 0, parts, &reason) != 0;
}

ss1_status layer_create(ss1_context &context, const ss1_linear_desc &wanted, const ss1_linear_weights &given,
                        ss1_layer **out, size_t parts) {
    auto layer = std::make_unique<ss1_layer>();
    ss1_linear_desc part = wanted;
    size_t kz = 0;
    SS1_TRY(linear_resolve(part, &kz));
    const size_t N = parts * part.N;
    ss1_linear_weights weights = given;
    SS1_TRY(linear_check_weights(part, parts, weights));
    SS1_TRY(check_all_values(part, parts, weights));
    const char *reason = "it gives no reason";
    SS1_CHECK(context.backend->supports(&part, 0, parts, &reason), SS1_ERROR_UNSUPPORTED,
              "backend '%s' does not support a layer with K=%zu, N=%zu, c=%u, rank=%zu, x_dtype=%d, weight_dtype=%d, "
              "y_dtype=%d: %s",
              context.backend->name, part.K, part.N, part.c, part.rank, static_cast<int>(part.x_dtype),
              static_cast<int>(part.weight_dtype), static_cast<int>(part.y_dtype), reason);
    layer->context = context_ref(&context);
    layer->backend = context.backend;
    layer->desc = part;
    layer->desc.N = N;
    layer->adds_residual = context.backend->supports(&part, 1, parts, &reason) != 0;
    void *state = nullptr;
    SS1_TRY(call_backend(*layer->backend, "layer_create", &state,
                         [&] { return layer->backend->layer_create(&context, &part, parts, &weights, &state); }));
    layer->state = state;
    layer->info = SS1_LAYER_INFO_INIT;
    layer->info.desc = layer->desc;
    layer->info.stored_columns = kz;
    layer->info.flops_per_row_dense = 2.0 * static_cast<double>(layer->desc.K) * static_cast<double>(layer->desc.N);
    layer->backend->layer_describe(layer->state, &layer->info);
    log(context, SS1_LOG_DEBUG, "layer K=%zu N=%zu c=%u rank=%zu: %s", layer->desc.K, layer->desc.N, layer->desc.c,
        layer->desc.rank, layer->info.kernels);
    *out = layer.release();
    return SS1_OK;
}

}  // namespace ss1
