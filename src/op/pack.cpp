// SPDX-License-Identifier: Apache-2.0
#include "op/pack.hpp"

#include <algorithm>
#include <cstring>

#include "half.hpp"

namespace ss1 {

void pack_rows(const float *b, size_t k, size_t n, size_t ldb, size_t nt, float *packed) noexcept {
    for (size_t n0 = 0; n0 < n; n0 += nt) {
        const size_t width = std::min(nt, n - n0);
        for (size_t i = 0; i < k; ++i, packed += nt) {
            std::memcpy(packed, b + i * ldb + n0, width * sizeof(float));
            std::fill(packed + width, packed + nt, 0.0f);
        }
    }
}

void pack_columns(const float *bt, size_t k, size_t n, size_t ldbt, size_t nt, float *packed) noexcept {
    constexpr size_t strip = 16;  // columns of one source cache line: each line is read once per strip
    for (size_t n0 = 0; n0 < n; n0 += nt, packed += k * nt) {
        const size_t width = std::min(nt, n - n0);
        if (width < nt) std::fill(packed, packed + k * nt, 0.0f);
        for (size_t k0 = 0; k0 < k; k0 += strip)
            for (size_t j = 0; j < width; ++j)
                for (size_t i = k0; i < std::min(k, k0 + strip); ++i) packed[i * nt + j] = bt[(n0 + j) * ldbt + i];
    }
}

void multiply_packed(const gemm_kernel &gemm, const float *a, size_t lda, const float *b, size_t ldb, const float *bias,
                     float *y, size_t ldy, size_t m, size_t n, size_t k) noexcept {
    gemm_panel_args g{};
    g.a = a;
    g.lda = lda;
    g.b = b;
    g.ldb = ldb;
    g.bias = bias;
    g.y = y;
    g.ldy = ldy;
    g.m = m;
    g.n = n;
    g.k = k;
    gemm.panel(g);
}

void widen(const uint16_t *from, size_t ld, size_t m, size_t n, float *to) noexcept {
    for (size_t i = 0; i < m; ++i)
        for (size_t j = 0; j < n; ++j) to[i * n + j] = bf16_to_f32(from[i * ld + j]);
}

}  // namespace ss1
