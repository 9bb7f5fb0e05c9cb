// SPDX-License-Identifier: Apache-2.0
// int8 GEMM with smmla, which adds products of 8 neighbours in k.
#include "arm/gemm_mmla.hpp"

namespace ss1 {
namespace {

struct smmla : integer_sums {
    using element = int8_t;
    static uint8x16_t bytes(sums v) noexcept { return vreinterpretq_u8_s32(v); }
    static sums of_bytes(uint8x16_t v) noexcept { return vreinterpretq_s32_u8(v); }
    static sums multiply(sums sum, uint8x16_t a, uint8x16_t b) noexcept {
        return vmmlaq_s32(sum, vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b));
    }
};

}  // namespace

void gemm_s8_s8_8x8_neoni8mm(const gemm_panel_args &g) noexcept {
    gemm<smmla, 4>(g);
}

}  // namespace ss1
