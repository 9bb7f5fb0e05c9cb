// SPDX-License-Identifier: Apache-2.0
// The linear layer as the API sees it: checks, the CPU backend's vtable, creation in the context's backend.
#include "op/linear.hpp"

#include <cmath>
#include <memory>

#include "backend.hpp"
#include "op/linear_cpu.hpp"
#include "span.hpp"

namespace ss1 {
namespace {

void linear_describe(const void *state, ss1_layer_info *info) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    info->kernels = l.kernels.c_str();
    info->weight_bytes = l.packed_bytes();
    info->flops_per_row = l.flops_per_row;
}

void linear_destroy(void *state) noexcept {
    delete static_cast<linear *>(state);
}

int cpu_score(const char **) noexcept {
    return 1;
}

ss1_status check_finite(const char *what, const float *values, size_t rows, size_t columns, size_t ld) noexcept {
    for (size_t i = 0; i < rows; ++i)
        for (size_t k = 0; k < columns; ++k)
            SS1_CHECK(std::isfinite(values[i * ld + k]), SS1_ERROR_INVALID_ARGUMENT,
                      "weights.%s[%zu,%zu]=%g is not finite", what, i, k, static_cast<double>(values[i * ld + k]));
    return SS1_OK;
}

}  // namespace

const ss1_backend cpu_backend = {SS1_BACKEND_ABI, sizeof(ss1_backend), "cpu",           cpu_score,     linear_create,
                                 linear_scratch,  linear_run,          linear_describe, linear_destroy};

ss1_status layer_create(ss1_context &context, const ss1_linear_desc &wanted, const ss1_linear_weights &given,
                        ss1_layer **out) {
    auto layer = std::make_unique<ss1_layer>();
    layer->desc = wanted;
    size_t kz = 0;
    SS1_TRY(linear_resolve(layer->desc, &kz));
    ss1_linear_weights weights = given;
    SS1_CHECK(weights.struct_size == sizeof weights, SS1_ERROR_INVALID_ARGUMENT,
              "weights.struct_size=%u is not %zu: set weights with SS1_LINEAR_WEIGHTS_INIT", weights.struct_size,
              sizeof weights);
    SS1_CHECK(weights.z, SS1_ERROR_INVALID_ARGUMENT, "weights.z is NULL");
    if (weights.ldz == 0) weights.ldz = kz;
    SS1_CHECK(weights.ldz >= kz, SS1_ERROR_INVALID_ARGUMENT, "weights.ldz=%zu is below the stored columns Kz=%zu",
              weights.ldz, kz);
    memory_span z{}, bias{};
    SS1_TRY(matrix_span("weights.z", weights.z, layer->desc.N, kz, weights.ldz, z));
    if (weights.bias) SS1_TRY(matrix_span("weights.bias", weights.bias, 1, layer->desc.N, layer->desc.N, bias));
    SS1_TRY(check_finite("z", weights.z, layer->desc.N, kz, weights.ldz));
    if (weights.bias) SS1_TRY(check_finite("bias", weights.bias, 1, layer->desc.N, layer->desc.N));
    layer->context = context_ref(&context);
    layer->backend = context.backend;
    SS1_TRY(layer->backend->layer_create(&context, &layer->desc, &weights, &layer->state));
    layer->info = SS1_LAYER_INFO_INIT;
    layer->info.desc = layer->desc;
    layer->info.stored_columns = kz;
    layer->info.flops_per_row_dense = 2.0 * static_cast<double>(layer->desc.K) * static_cast<double>(layer->desc.N);
    layer->backend->layer_describe(layer->state, &layer->info);
    log(context, SS1_LOG_DEBUG, "layer K=%zu N=%zu c=%u: %s", layer->desc.K, layer->desc.N, layer->desc.c,
        layer->info.kernels);
    *out = layer.release();
    return SS1_OK;
}

}  // namespace ss1
