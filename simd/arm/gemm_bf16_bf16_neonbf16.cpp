// SPDX-License-Identifier: Apache-2.0
// bf16 GEMM with bfmmla, which adds products of 4 neighbours in k.
#include "arm/gemm_mmla.hpp"

namespace ss1 {
namespace {

struct bfmmla : float_sums {
    using element = uint16_t;
    static uint8x16_t bytes(sums v) noexcept { return vreinterpretq_u8_f32(v); }
    static sums of_bytes(uint8x16_t v) noexcept { return vreinterpretq_f32_u8(v); }
    static sums multiply(sums sum, uint8x16_t a, uint8x16_t b) noexcept {
        return vbfmmlaq_f32(sum, vreinterpretq_bf16_u8(a), vreinterpretq_bf16_u8(b));
    }
};

}  // namespace

void gemm_bf16_bf16_8x8_neonbf16(const gemm_panel_args &g) noexcept {
    gemm<bfmmla, 4>(g);
}

}  // namespace ss1
