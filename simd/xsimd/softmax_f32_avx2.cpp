// SPDX-License-Identifier: Apache-2.0
#include "softmax.hpp"

namespace ss1 {

void softmax_f32_avx2(const softmax_args &args) noexcept {
    softmax<xsimd::batch<float, xsimd::fma3<xsimd::avx2>>>(args);
}

}  // namespace ss1
