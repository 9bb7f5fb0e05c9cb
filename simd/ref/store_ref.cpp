// SPDX-License-Identifier: Apache-2.0
// The specification of store: y[i,j] = c[i,j] + residual[i,j], rounded to y's type.
#include <cassert>

#include "half.hpp"
#include "kernels.hpp"

namespace ss1 {
namespace {

void check_shape([[maybe_unused]] const store_args &args) noexcept {
    assert(args.m <= 1 || (args.ldc >= args.n && args.ldy >= args.n && (!args.residual || args.ldr >= args.n)));
}

}  // namespace

void store_f32_ref(const store_args &args) noexcept {
    check_shape(args);
    const float *residual = static_cast<const float *>(args.residual);
    for (size_t i = 0; i < args.m; i++)
        for (size_t j = 0; j < args.n; j++)
            static_cast<float *>(args.y)[i * args.ldy + j] =
                args.c[i * args.ldc + j] + (residual ? residual[i * args.ldr + j] : 0.0f);
}

void store_bf16_ref(const store_args &args) noexcept {
    check_shape(args);
    const uint16_t *residual = static_cast<const uint16_t *>(args.residual);
    for (size_t i = 0; i < args.m; i++)
        for (size_t j = 0; j < args.n; j++)
            static_cast<uint16_t *>(args.y)[i * args.ldy + j] =
                bf16_from_f32(args.c[i * args.ldc + j] + (residual ? bf16_to_f32(residual[i * args.ldr + j]) : 0.0f));
}

}  // namespace ss1
