// SPDX-License-Identifier: Apache-2.0
#include "activation.hpp"

namespace ss1 {

using vec = xsimd::batch<float, xsimd::fma3<xsimd::avx2>>;

void relu_f32_avx2(const activation_args &args) noexcept {
    each<vec, relu>(args);
}
void gelu_f32_avx2(const activation_args &args) noexcept {
    each<vec, gelu>(args);
}
void gelu_tanh_f32_avx2(const activation_args &args) noexcept {
    each<vec, gelu_tanh>(args);
}
void gelu_bf16_f32_avx2(const activation_args &args) noexcept {
    each<vec, gelu_bf16>(args);
}
void tanh_f32_avx2(const activation_args &args) noexcept {
    each<vec, tanh>(args);
}
void sigmoid_f32_avx2(const activation_args &args) noexcept {
    each<vec, sigmoid>(args);
}
void silu_f32_avx2(const activation_args &args) noexcept {
    each<vec, silu>(args);
}

}  // namespace ss1
