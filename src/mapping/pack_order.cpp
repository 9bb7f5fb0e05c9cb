// SPDX-License-Identifier: Apache-2.0
#include "mapping/pack_order.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "half.hpp"

namespace ss1 {
namespace {

// Copies the tied weights of output n in the column order of its sketch.
void order_row(const mapping &map, const float *z, size_t n, float *row) noexcept {
    const size_t kz = map.stored_columns, bk = map.desc.block_k;
    if (map.desc.scheme != SS1_SCHEME_REFERENCE || map.desc.c <= 1) {
        std::copy_n(z, kz, row);
        return;
    }
    // S' is the sketch by rho alone: its column u is multiplied by stored column (u - alpha) mod B_K.
    for (size_t g = 0; g * bk < kz; ++g) {
        const size_t alpha = map.alpha(n % map.desc.N / map.desc.block_n, g);
        for (size_t v = 0; v < bk; ++v)
            row[g * bk + (v + alpha) % bk] = g * bk + v < map.live_columns ? z[g * bk + v] : 0.0f;
    }
}

// rows [nt][ka] to values [ka / kr][nt][kr].
template <class T, class F>
void interleave(const std::vector<float> &rows, size_t ka, size_t nt, size_t kr, T *to, F &&convert) noexcept {
    constexpr size_t strip = 16;  // columns in a source cache line, so that a strip reads each line once
    for (size_t k0 = 0; k0 < ka; k0 += strip)
        for (size_t j = 0; j < nt; ++j)
            for (size_t k = k0; k < std::min(ka, k0 + strip); ++k)
                to[(k / kr * nt + j) * kr + k % kr] = convert(rows[j * ka + k]);
}

// Divides each row by its scale and rounds. The products start from the sums of the quantised rows.
void quantize_rows(std::vector<float> &rows, size_t ka, size_t nt, float *scale, int32_t *start) noexcept {
    for (size_t j = 0; j < nt; ++j) {
        const auto begin = rows.begin() + static_cast<ptrdiff_t>(j * ka), end = begin + static_cast<ptrdiff_t>(ka);
        float max = 0;
        std::for_each(begin, end, [&max](float v) { max = std::max(max, std::fabs(v)); });
        scale[j] = max / 127;
        const float inverse = 127 / max;
        int32_t sum = 0;
        std::for_each(begin, end, [&](float &v) {
            // If the weights of an output are so small that 127 / max overflows, they count as zero.
            v = max > 0 && std::isfinite(inverse) ? std::nearbyint(v * inverse) : 0;
            sum += static_cast<int32_t>(v);
        });
        if (start) start[j] = -128 * sum;
    }
}

}  // namespace

void pack_stored(const mapping &map, const stored_weights &from, const tiling &tiles, const pack_format &format,
                 size_t ka, const packed_weights &to) {
    const size_t nt = format.nt;
    std::vector<float> rows(nt * ka);
    for (size_t t = 0; t < tiles.tiles(); ++t) {
        std::fill(rows.begin(), rows.end(), 0.0f);
        for (size_t n0 = tiles.first_column(t), n = n0; n < tiles.end_column(t + 1); ++n) {
            float *row = rows.data() + (n - n0) * ka;
            if (from.z) order_row(map, from.z + n * from.ldz, n, row);
            std::copy_n(from.u + n * from.rank, from.rank, row + from.u_at);
        }
        const size_t at = t * ka * nt;
        if (format.type == dtype::f32) {
            interleave(rows, ka, nt, format.kr, static_cast<float *>(to.values) + at, [](float v) { return v; });
        } else if (format.type == dtype::bf16) {
            interleave(rows, ka, nt, format.kr, static_cast<uint16_t *>(to.values) + at, bf16_from_f32);
        } else {
            quantize_rows(rows, ka, nt, to.column_scale + t * nt, to.column_start ? to.column_start + t * nt : nullptr);
            interleave(rows, ka, nt, format.kr, static_cast<int8_t *>(to.values) + at,
                       [](float v) { return static_cast<int8_t>(v); });
        }
    }
}

}  // namespace ss1
