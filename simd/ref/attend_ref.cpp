// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>
#include <cmath>

#include "half.hpp"
#include "kernels.hpp"

namespace ss1 {
namespace {

float to_f32(float x) noexcept {
    return x;
}
float to_f32(uint16_t x) noexcept {
    return bf16_to_f32(x);
}
void assign(float &y, float x) noexcept {
    y = x;
}
void assign(uint16_t &y, float x) noexcept {
    y = bf16_from_f32(x);
}

// The specification of attend. Scratch holds the scores of a row.
template <class T>
void attend(const attend_args &args) noexcept {
    assert(args.n >= 1 && args.ld >= args.d);
    assert(reinterpret_cast<uintptr_t>(args.scratch) % 64 == 0);
    const auto *q = static_cast<const T *>(args.q), *key = static_cast<const T *>(args.k);
    const auto *v = static_cast<const T *>(args.v);
    auto *p = static_cast<float *>(args.scratch);
    for (size_t i = 0; i < args.m; i++) {
        float max = -HUGE_VALF, sum = 0;
        for (size_t j = 0; j < args.n; j++) {
            p[j] = 0;
            for (size_t k = 0; k < args.d; k++) p[j] += to_f32(q[i * args.ld + k]) * to_f32(key[j * args.ld + k]);
            if (args.mask) p[j] += args.mask[j];
            max = std::max(max, p[j]);
        }
        for (size_t j = 0; j < args.n; j++) sum += p[j] = std::exp(args.scale * (p[j] - max));
        for (size_t k = 0; k < args.d; k++) {
            float y = 0;
            for (size_t j = 0; j < args.n; j++) y += p[j] * to_f32(v[j * args.ld + k]);
            assign(static_cast<T *>(args.y)[i * args.ld + k], y / sum);
        }
    }
}

}  // namespace

void attend_f32_ref(const attend_args &args) noexcept {
    attend<float>(args);
}

void attend_bf16_ref(const attend_args &args) noexcept {
    attend<uint16_t>(args);
}

}  // namespace ss1
