// SPDX-License-Identifier: Apache-2.0
#include "op/pack.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

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

namespace {

// Output n's weights in the order of the sketch that they meet.
void order_row(const mapping &map, const float *z, size_t n, float *row) noexcept {
    const size_t kz = map.stored_columns, bk = map.desc.block_k;
    if (map.desc.scheme != SS1_SCHEME_REFERENCE || map.desc.c == 1) {
        std::copy_n(z, kz, row);
        return;
    }
    // S' is the sketch by rho alone, so its column u meets the stored column (u - alpha) mod B_K.
    for (size_t g = 0; g * bk < kz; ++g) {
        const size_t alpha = map.alpha(n % map.desc.N / map.desc.block_n, g);
        for (size_t v = 0; v < bk; ++v)
            row[g * bk + (v + alpha) % bk] = g * bk + v < map.live_columns ? z[g * bk + v] : 0.0f;
    }
}

// rows [nt][ka] to values [ka / kr][nt][kr].
template <class T, class F>
void interleave(const std::vector<float> &rows, size_t ka, size_t nt, size_t kr, T *to, F &&convert) noexcept {
    constexpr size_t strip = 16;  // columns of one source cache line: each line is read once per strip
    for (size_t k0 = 0; k0 < ka; k0 += strip)
        for (size_t j = 0; j < nt; ++j)
            for (size_t k = k0; k < std::min(ka, k0 + strip); ++k)
                to[(k / kr * nt + j) * kr + k % kr] = convert(rows[j * ka + k]);
}

// Divides each row by its scale and rounds; the sums of the quantised rows start the products.
void quantize_rows(std::vector<float> &rows, size_t ka, size_t nt, float *scale, int32_t *start) noexcept {
    for (size_t j = 0; j < nt; ++j) {
        const auto begin = rows.begin() + static_cast<ptrdiff_t>(j * ka), end = begin + static_cast<ptrdiff_t>(ka);
        float max = 0;
        std::for_each(begin, end, [&max](float v) { max = std::max(max, std::fabs(v)); });
        scale[j] = max / 127;
        const float inverse = 127 / max;
        int32_t sum = 0;
        std::for_each(begin, end, [&](float &v) {
            // An output whose weights are so small that 127 / max overflows counts as zero.
            v = max > 0 && std::isfinite(inverse) ? std::nearbyint(v * inverse) : 0;
            sum += static_cast<int32_t>(v);
        });
        if (start) start[j] = -128 * sum;
    }
}

}  // namespace

void pack_stored(const mapping &map, const float *z, size_t ldz, const tiling &tiles, const gemm_kernel &kernel,
                 size_t ka, const packed_weights &to) {
    const size_t nt = kernel.nt;
    std::vector<float> rows(nt * ka);
    for (size_t t = 0; t < tiles.tiles(); ++t) {
        std::fill(rows.begin(), rows.end(), 0.0f);
        for (size_t n0 = tiles.first_column(t), n = n0; n < tiles.end_column(t + 1); ++n)
            order_row(map, z + n * ldz, n, rows.data() + (n - n0) * ka);
        const size_t at = t * ka * nt;
        if (kernel.b == dtype::f32) {
            interleave(rows, ka, nt, kernel.kr, static_cast<float *>(to.values) + at, [](float v) { return v; });
        } else if (kernel.b == dtype::bf16) {
            interleave(rows, ka, nt, kernel.kr, static_cast<uint16_t *>(to.values) + at, bf16_from_f32);
        } else {
            quantize_rows(rows, ka, nt, to.column_scale + t * nt, to.column_start ? to.column_start + t * nt : nullptr);
            interleave(rows, ka, nt, kernel.kr, static_cast<int8_t *>(to.values) + at,
                       [](float v) { return static_cast<int8_t>(v); });
        }
    }
}

}  // namespace ss1
