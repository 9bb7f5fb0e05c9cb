// SPDX-License-Identifier: Apache-2.0
#include "softmax.hpp"

namespace ss1 {

void softmax_f32_sse4(const softmax_args &args) noexcept {
    softmax<xsimd::batch<float, xsimd::sse4_1>>(args);
}

}  // namespace ss1
