// SPDX-License-Identifier: Apache-2.0
// The specification of sketch: s_j[i, g*B_K+u] = sum_q sign(j,g,q) * x[i, (g*c+q)*B_K + (u + rotation(j,g,q)) mod B_K].
#include <cassert>

#include "half.hpp"
#include "kernels.hpp"

namespace ss1 {
namespace {

float load(const sketch_args &args, dtype type, size_t at) noexcept {
    if (type == dtype::f32) return static_cast<const float *>(args.x)[at];
    const uint16_t bits = static_cast<const uint16_t *>(args.x)[at];
    return type == dtype::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

void sketch(const sketch_args &args, dtype x_type, dtype s_type) noexcept {
    const size_t block_k = args.block_k, c = args.c;
    assert(block_k == 16 || block_k == 32 || block_k == 64 || block_k == 128 || block_k == 256);
    assert(c >= 1 && args.groups == (args.k + c * block_k - 1) / (c * block_k));
    assert(args.m <= 1 || (args.ldx >= args.k && args.lds >= args.groups * block_k));
    for (size_t j = 0; j < args.sketches; j++) {
        for (size_t i = 0; i < args.m; i++) {
            for (size_t column = 0; column < args.groups * block_k; column++) {
                const size_t g = column / block_k, u = column % block_k;
                float sum = 0.0f;
                for (size_t q = 0; q < c; q++) {
                    const sketch_entry &entry = args.entries[(j * args.groups + g) * c + q];
                    assert(entry.rotation < block_k && entry.negative <= 1);
                    const size_t source = (g * c + q) * block_k + (u + entry.rotation) % block_k;
                    const float x = source < args.k ? load(args, x_type, i * args.ldx + source) : 0.0f;
                    sum += entry.negative ? -x : x;
                }
                const size_t at = j * args.sketch_stride + i * args.lds + column;
                if (s_type == dtype::f32) {
                    static_cast<float *>(args.s)[at] = sum;
                } else {
                    static_cast<uint16_t *>(args.s)[at] = bf16_from_f32(sum);
                }
            }
        }
    }
}

}  // namespace

void sketch_f32_f32_ref(const sketch_args &args) noexcept {
    sketch(args, dtype::f32, dtype::f32);
}
void sketch_bf16_f32_ref(const sketch_args &args) noexcept {
    sketch(args, dtype::bf16, dtype::f32);
}
void sketch_f16_f32_ref(const sketch_args &args) noexcept {
    sketch(args, dtype::f16, dtype::f32);
}
void sketch_f32_bf16_ref(const sketch_args &args) noexcept {
    sketch(args, dtype::f32, dtype::bf16);
}
void sketch_bf16_bf16_ref(const sketch_args &args) noexcept {
    sketch(args, dtype::bf16, dtype::bf16);
}
void sketch_f16_bf16_ref(const sketch_args &args) noexcept {
    sketch(args, dtype::f16, dtype::bf16);
}

}  // namespace ss1
