// SPDX-License-Identifier: Apache-2.0
// The state of the CPU's linear layer: linear_create.cpp decides it, linear_run.cpp runs it.
#pragma once
#include <memory>
#include <string>

#include "base/context.hpp"
#include "mapping/mapping.hpp"
#include "mapping/pack_order.hpp"
#include "op/linear.hpp"

namespace ss1 {

inline constexpr size_t max_fused_row_block = 256;  // rows of one call of a fused kernel

struct linear {
    linear(const ss1_context &owner, const ss1_linear_desc &resolved, size_t stacked)
        : context(owner), map(resolved), parts(stacked) {}

    const ss1_context &context;
    mapping map;   // of one part, as it runs: c is 1 if the layer was expanded
    size_t parts;  // layers of the same mapping, stacked along N (such as Q, K, V); they share their sketches
    dtype x_type = dtype::f32, y_type = dtype::f32;

    const gemm_kernel *gemm = nullptr;
    const sketch_kernel *sketch = nullptr;        // makes `a`; NULL if gemm or quantize reads x
    const quantize_kernel *quantize = nullptr;    // from the sketch or x to integers; NULL if `a` is not of integers
    const activation_kernel *activate = nullptr;  // NULL for none and for ReLU, which gemm does
    const store_kernel *store = nullptr;          // after a panel kernel, if y is bf16 or there is a residual
    bool relu = false, expanded = false;
    // x V, in the type of the sketch, its columns follow those of the sketch in `a`. NULL without a low-rank part.
    std::unique_ptr<linear> down;
    size_t down_ld = 0;  // leading dimension of x V in scratch, elements

    // `a` is x unchanged (dense, same type). It is copied only if the kernel reads groups of rows and those behind the
    // last row of x may not be read.
    bool x_is_a = false;
    bool quantizes_x = false;  // `a` is x as integers, without a sketch

    // Sketch shape of one part: the layer's c, B_K and groups; for dense layers c = 1 and the block length that pads x
    // least.
    size_t n_sketches = 1, c = 1, block_k = 0, groups = 0;
    size_t ka = 0;            // columns of `a`: Kz or K, and the rank, padded to a multiple of gemm's k_multiple
    size_t lda = 0;           // leading dimension of `a` in scratch, elements
    size_t sketch_bytes = 0;  // size of `a` in scratch, unless the rows of one sketch need more

    tiling tiles{};
    size_t k_block = 0, tile_block = 0, row_block = 0;
    size_t lone_tile_block = 0;  // tile_block for a single panel of rows: its sums take the place of a row block's
    size_t l2 = 0;               // bytes of a core's L2

    // The arguments that all calls of the kernel share; the one that its kind takes is filled. Calls copy the struct:
    // GCC zeroes a fresh one with rep stos (10-50 ns).
    gemm_panel_args panel_args{};
    gemm_fused_args fused_args{};

    buffer entries, packed, bias, column_scale, column_start;
    std::string kernels;
    size_t flops_per_row = 0;

    size_t outputs() const noexcept { return parts * map.desc.N; }
    // Of the sketch and of x V.
    dtype encoded_type() const noexcept { return quantize ? dtype::f32 : gemm->a; }
    bool makes_a() const noexcept { return sketch || down || quantize; }
    // Of `a`, before those of x V.
    size_t sketch_columns() const noexcept { return quantizes_x ? map.desc.K : groups * block_k; }
    size_t made_columns() const noexcept { return sketch_columns() + map.desc.rank; }
    size_t row_bytes_of_a() const noexcept { return lda * size_of(gemm->a); }  // for one sketch
    size_t packed_bytes() const noexcept {
        return packed.bytes() + bias.bytes() + entries.bytes() + column_scale.bytes() + column_start.bytes() +
               (down ? down->packed_bytes() : 0);
    }
};

// The CPU's slots of ss1_backend, see backend.h. linear_ns() is in integers, since scratch sizes depend on it: they
// must not depend on the caller's rounding mode.
ss1_status linear_create(const ss1_context *context, const ss1_linear_desc *desc, size_t parts,
                         const ss1_linear_weights *weights, void **state);
size_t linear_scratch(const void *state, size_t m) noexcept;
ss1_status linear_run(const void *state, const ss1_linear_args *args) noexcept;
size_t linear_rows_scratch(const void *state, size_t rows) noexcept;
uint64_t linear_ns(const void *state, size_t m) noexcept;
void linear_rows_run(const void *state, const ss1_linear_args *args, int in_groups) noexcept;

}  // namespace ss1
