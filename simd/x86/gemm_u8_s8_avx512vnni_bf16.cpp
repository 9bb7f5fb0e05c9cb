// SPDX-License-Identifier: Apache-2.0
// With an instruction for the rounding of y to bf16.
#include "x86/gemm_dot_avx512.hpp"

namespace ss1 {

void gemm_u8_s8_14x32_avx512vnni_bf16(const gemm_fused_args &g) noexcept {
    gemm<int8_sums>(g);
}

}  // namespace ss1
