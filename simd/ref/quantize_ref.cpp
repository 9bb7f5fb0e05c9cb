// SPDX-License-Identifier: Apache-2.0
// The specification of quantize: q[i,j] = zero + round(s[i,j] * 127 / max), scale[i] = max / 127, max = max_j |s[i,j]|.
#include <cassert>
#include <cmath>

#include "half.hpp"
#include "kernels.hpp"

namespace ss1 {
namespace {

float value_of(float s) noexcept {
    return s;
}
float value_of(uint16_t s) noexcept {
    return bf16_to_f32(s);
}

template <class T>
void quantize(const quantize_args &args) noexcept {
    assert(args.zero == 0 || args.zero == 128);
    assert(args.m <= 1 || (args.lds >= args.n && args.ldq >= args.n));
    for (size_t i = 0; i < args.m; i++) {
        const T *s = static_cast<const T *>(args.s) + i * args.lds;
        uint8_t *q = static_cast<uint8_t *>(args.q) + i * args.ldq;
        float max = 0.0f;
        for (size_t j = 0; j < args.n; j++) {
            const float magnitude = std::fabs(value_of(s[j]));
            if (!(magnitude <= max)) max = magnitude;  // also true for NaN
            if (std::isnan(max)) break;
        }
        args.scale[i] = max / 127.0f;
        // 127/max overflows for a denormal max: such a row counts as zero, and so does a row without a finite maximum.
        const float inverse = 127.0f / max;
        const bool finite = max > 0.0f && std::isfinite(max) && std::isfinite(inverse);
        for (size_t j = 0; j < args.n; j++) {
            const int value = finite ? static_cast<int>(std::nearbyint(value_of(s[j]) * inverse)) : 0;
            q[j] = static_cast<uint8_t>(args.zero + value);
        }
    }
}

}  // namespace

void quantize_f32_ref(const quantize_args &args) noexcept {
    quantize<float>(args);
}
void quantize_bf16_ref(const quantize_args &args) noexcept {
    quantize<uint16_t>(args);
}

}  // namespace ss1
