// SPDX-License-Identifier: Apache-2.0
// The CPU's linear layer: what linear_create.cpp decided and linear_run.cpp walks through.
#pragma once
#include <string>

#include "base/context.hpp"
#include "mapping/mapping.hpp"
#include "mapping/pack_order.hpp"
#include "op/linear.hpp"

namespace ss1 {

inline constexpr size_t max_fused_row_block = 256;

struct linear {
    linear(const ss1_context &owner, const ss1_linear_desc &resolved, size_t stacked)
        : context(owner), map(resolved), parts(stacked) {}

    const ss1_context &context;
    mapping map;   // of a part of the layer as it runs: c is 1 if it was expanded
    size_t parts;  // layers of this mapping whose outputs lie one behind the other; they read the same sketches
    dtype x_type = dtype::f32, y_type = dtype::f32;

    const gemm_kernel *gemm = nullptr;
    const sketch_kernel *sketch = nullptr;        // makes `a`; NULL where gemm reads x itself
    const quantize_kernel *quantize = nullptr;    // behind the sketch, for integers
    const activation_kernel *activate = nullptr;  // NULL where gemm does it
    const store_kernel *store = nullptr;          // NULL where gemm writes y; used for a residual and for bf16
    bool relu = false, expanded = false;
    bool copies = false;  // `a` is x as it is, copied only for the rows behind its last group

    // The sketches of each part as they are made: c, B_K and groups of the layer, or 1 and whatever pads rows of x
    // best.
    size_t n_sketches = 1, c = 1, block_k = 0, groups = 0;
    size_t ka = 0;            // columns of `a`: Kz or K, padded to what gemm wants
    size_t lda = 0;           // of `a` in scratch, elements
    size_t sketch_bytes = 0;  // of `a` in scratch, unless rows of one sketch take more

    tiling tiles{};
    size_t k_block = 0, tile_block = 0, row_block = 0;
    size_t lone_tile_block = 0;  // tile_block for a lone panel of rows: as many sums as those of a row block
    size_t tiles_at_once = 1;    // that the kernel multiplies with a panel: blocks and tasks hold whole groups
    size_t l2 = 0;               // bytes of a core's

    // What is the same in all calls of the kernel. They start from a copy: GCC clears as many bytes by `rep stos`,
    // which takes 10 to 50 ns.
    gemm_args gemm_common{};

    buffer entries, packed, bias, column_scale, column_start;
    std::string kernels;
    size_t flops_per_row = 0;

    size_t outputs() const noexcept { return parts * map.desc.N; }
    size_t row_bytes_of_a() const noexcept { return lda * size_of(gemm->a); }  // of one sketch
    size_t packed_bytes() const noexcept {
        return packed.bytes() + bias.bytes() + entries.bytes() + column_scale.bytes() + column_start.bytes();
    }
};

// The CPU's slots of ss1_backend, see backend.h.
ss1_status linear_create(const ss1_context *context, const ss1_linear_desc *desc, size_t parts,
                         const ss1_linear_weights *weights, void **state);
size_t linear_scratch(const void *state, size_t m) noexcept;
ss1_status linear_run(const void *state, const ss1_linear_args *args) noexcept;
size_t linear_rows_scratch(const void *state, size_t rows) noexcept;
uint64_t linear_ns(const void *state, size_t m) noexcept;
void linear_rows_run(const void *state, const ss1_linear_args *args, int in_groups) noexcept;

}  // namespace ss1
