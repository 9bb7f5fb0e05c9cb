// SPDX-License-Identifier: Apache-2.0
#include "op/pack.hpp"

#include <algorithm>
#include <cstring>

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

void pack_stored(const mapping &map, const float *z, size_t ldz, const tiling &tiles, float *packed) noexcept {
    const size_t kz = map.stored_columns, bk = map.desc.block_k, nt = tiles.nt, N = tiles.N;
    if (map.desc.scheme != SS1_SCHEME_REFERENCE || map.desc.c == 1) {
        for (size_t n0 = 0; n0 < N; n0 += tiles.segment, packed += tiles.tiles_per_segment() * kz * nt)
            pack_columns(z + n0 * ldz, kz, std::min(tiles.segment, N - n0), ldz, nt, packed);
        return;
    }
    std::fill(packed, packed + tiles.tiles() * kz * nt, 0.0f);
    for (size_t n = 0; n < N; ++n) {
        float *column = packed + n / nt * kz * nt + n % nt;
        // S' is the sketch by rho alone, so its column u meets the stored column (u - alpha) mod B_K.
        for (size_t g = 0; g * bk < kz; ++g) {
            const size_t alpha = map.alpha(n / map.desc.block_n, g);
            for (size_t v = 0; v < bk && g * bk + v < map.live_columns; ++v)
                column[(g * bk + (v + alpha) % bk) * nt] = z[n * ldz + g * bk + v];
        }
    }
}

}  // namespace ss1
