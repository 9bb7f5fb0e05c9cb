// SPDX-License-Identifier: Apache-2.0
#include "x86/gemm_dot_avx512.hpp"

namespace ss1 {

void gemm_u8_s8_14x32_avx512vnni(const gemm_fused_args &g) noexcept {
    gemm<int8_sums>(g);
}

}  // namespace ss1
