// SPDX-License-Identifier: Apache-2.0
#include "x86/sketch_avx512.hpp"

namespace ss1 {

void sketch_f32_bf16_avx512(const sketch_args &args) noexcept {
    sketch<load_f32, store_bf16>(args);
}
void sketch_bf16_bf16_avx512(const sketch_args &args) noexcept {
    sketch<load_bf16, store_bf16>(args);
}
void sketch_f16_bf16_avx512(const sketch_args &args) noexcept {
    sketch<load_f16, store_bf16>(args);
}

}  // namespace ss1
