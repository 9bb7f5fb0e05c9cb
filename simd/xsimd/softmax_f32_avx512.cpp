// SPDX-License-Identifier: Apache-2.0
#include "softmax.hpp"

namespace ss1 {

void softmax_f32_avx512(const softmax_args &args) noexcept {
    softmax<xsimd::batch<float, xsimd::avx512bw>>(args);
}

}  // namespace ss1
