// SPDX-License-Identifier: Apache-2.0
// The specification of sketch: s[i, g*B_K+u] = sum_q sign(g,q) * x[i, (g*c+q)*B_K + (u + rotation(g,q)) mod B_K].
#include "kernels.hpp"

namespace ss1 {

void sketch_f32_ref(const sketch_args &args) noexcept {
    const size_t block_k = args.block_k, c = args.c;
    for (size_t i = 0; i < args.m; i++) {
        for (size_t g = 0; g < args.groups; g++) {
            for (size_t u = 0; u < block_k; u++) {
                float sum = 0.0f;
                for (size_t q = 0; q < c; q++) {
                    const sketch_entry &entry = args.entries[g * c + q];
                    const size_t column = (g * c + q) * block_k + (u + entry.rotation) % block_k;
                    const float x = column < args.k ? args.x[i * args.ldx + column] : 0.0f;
                    sum += entry.negative ? -x : x;
                }
                args.s[i * args.lds + g * block_k + u] = sum;
            }
        }
    }
}

}  // namespace ss1
