// SPDX-License-Identifier: Apache-2.0
// The order of packed weights: maps the stored weights of a layer to the tiles that the gemm kernels stream.
#pragma once
#include "mapping/mapping.hpp"

namespace ss1 {

// Cuts the outputs into tiles of nt columns. A layer with several sketches has a segment per output block, other layers
// have one; each segment starts a new tile, so that no tile spans two sketches.
struct tiling {
    tiling() = default;
    tiling(size_t outputs, size_t columns_of_segment, size_t columns_of_tile) noexcept
        : N(outputs),
          segment(columns_of_segment),
          nt(columns_of_tile),
          per_segment_((segment + nt - 1) / nt),
          tiles_(N / segment * per_segment_ + (N % segment + nt - 1) / nt) {}

    size_t N = 0, segment = 0, nt = 0;  // columns, columns of a segment, columns of a tile

    size_t tiles_per_segment() const noexcept { return per_segment_; }
    size_t tiles() const noexcept { return tiles_; }
    // Avoids the division for the first segment: most layers have only one, and a small layer runs no longer than a few
    // divisions.
    size_t segment_of(size_t tile) const noexcept { return tile < per_segment_ ? 0 : tile / per_segment_; }
    size_t first_column(size_t tile) const noexcept {
        const size_t of = segment_of(tile);
        return of * segment + (tile - of * per_segment_) * nt;
    }
    // Returns the end of the columns of all tiles before `tile`, which lie in one segment.
    size_t end_column(size_t tile) const noexcept {
        const size_t last = tile - 1, segment_end = (segment_of(last) + 1) * segment, end = first_column(last) + nt;
        return end < segment_end ? (end < N ? end : N) : (segment_end < N ? segment_end : N);
    }

  private:
    size_t per_segment_ = 0, tiles_ = 0;
};

// Destinations of packed weights: values of the kernel's type b, and for integers the factors of gemm_args. The last
// three may be NULL if the kernel does not use them.
struct packed_weights {
    void *values;           // [tiles][ka / kr][nt][kr]
    float *column_scale;    // [tiles * nt]
    int32_t *column_start;  // [tiles * nt], for a of type u8
};

// The packed format of a kernel: the type of its weights, the columns of a tile, the consecutive values of k.
struct pack_format {
    dtype type;
    uint32_t nt, kr;
};

// The weights of an output: z [N, Kz], and u [N, rank] at column `u_at` and later ones of the packed weights.
struct stored_weights {
    const float *z;  // NULL if Kz is 0
    size_t ldz;
    const float *u = nullptr;
    size_t rank = 0, u_at = 0;
};

// Packs stored weights of tiles.N outputs, of one or more parts of N outputs each, for the sketch that the layer runs:
// z unchanged for `mixed`; rotated by alpha(j,g) for `reference`, so that one sketch serves all blocks. Dead columns,
// columns of neither z nor u, up to ka, and columns beyond N become zero. bf16 rounds to nearest even; s8 is round(z /
// scale) with one scale per output, max |z| / 127.
void pack_stored(const mapping &map, const stored_weights &from, const tiling &tiles, const pack_format &format,
                 size_t ka, const packed_weights &to);

}  // namespace ss1
