// SPDX-License-Identifier: Apache-2.0
// The order of packed weights: how the stored weights of a layer lie in the tiles that the gemm kernels stream.
#pragma once
#include "mapping/mapping.hpp"

namespace ss1 {

// The outputs cut into tiles of nt columns. With several sketches a tile never straddles two output blocks, so each
// block starts a tile; otherwise all outputs are one segment.
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
    // Most layers are one segment, and a small one takes no longer than a few divisions.
    size_t segment_of(size_t tile) const noexcept { return tile < per_segment_ ? 0 : tile / per_segment_; }
    size_t first_column(size_t tile) const noexcept {
        const size_t of = segment_of(tile);
        return of * segment + (tile - of * per_segment_) * nt;
    }
    // One past the last column of the tiles up to and without `tile`, all of one segment.
    size_t end_column(size_t tile) const noexcept {
        const size_t last = tile - 1, segment_end = (segment_of(last) + 1) * segment, end = first_column(last) + nt;
        return end < segment_end ? (end < N ? end : N) : (segment_end < N ? segment_end : N);
    }

  private:
    size_t per_segment_ = 0, tiles_ = 0;
};

// Where packed weights go: values of the kernel's type b, and for integers the factors of gemm_args. The last three may
// be NULL where the kernel does not want them.
struct packed_weights {
    void *values;           // [tiles][ka / kr][nt][kr]
    float *column_scale;    // [tiles * nt]
    int32_t *column_start;  // [tiles * nt], for a of type u8
};

// What a kernel wants of packed weights: their type, columns of a tile, values of k that lie together.
struct pack_format {
    dtype type;
    uint32_t nt, kr;
};

// Packs stored weights z [tiles.N, Kz], those of one or more parts of N outputs each, for the sketch that the layer
// runs: as they are for `mixed`; rotated by alpha(j,g) for `reference`, whose one sketch then serves all blocks. Dead
// columns, those from Kz to ka and those beyond N are zero. bf16 rounds to nearest even; s8 is round(z / scale) with
// one scale for each output, max |z| / 127.
void pack_stored(const mapping &map, const float *z, size_t ldz, const tiling &tiles, const pack_format &format,
                 size_t ka, const packed_weights &to);

}  // namespace ss1
