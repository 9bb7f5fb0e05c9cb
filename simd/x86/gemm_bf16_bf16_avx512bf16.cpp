// SPDX-License-Identifier: Apache-2.0
#include "x86/gemm_dot_avx512.hpp"

namespace ss1 {

void gemm_bf16_bf16_14x32_avx512bf16(const gemm_fused_args &g) noexcept {
    gemm<bf16_sums>(g);
}

}  // namespace ss1
