// SPDX-License-Identifier: Apache-2.0
#include "softmax.hpp"

namespace ss1 {

void softmax_f32_neon(const softmax_args &args) noexcept {
    softmax<xsimd::batch<float, xsimd::neon64>>(args);
}

}  // namespace ss1
