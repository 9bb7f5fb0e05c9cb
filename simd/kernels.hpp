// SPDX-License-Identifier: Apache-2.0
// Contracts of all kernels. A kernel is one row in kernels.inc; tests and benchmarks loop over the tables below.
// This header is included by files that are compiled with ISA flags: no other standard headers than these two.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ss1 {

// Instruction sets, lowest level first; a context uses a mask of them. One bit each, so that a kernel can need several.
namespace isa {
using mask = uint32_t;
inline constexpr mask none = 0;
inline constexpr mask sse4 = 1u << 0;  // SSE4.2, AES and PCLMUL: what Highway's SSE4 target asks for
inline constexpr mask avx2 = 1u << 1;  // with FMA, F16C, BMI2: what Highway's AVX2 target asks for
inline constexpr mask avxvnni = 1u << 2;
inline constexpr mask avx512 = 1u << 3;  // F, BW, DQ, VL, CD
inline constexpr mask avx512vnni = 1u << 4;
inline constexpr mask avx512bf16 = 1u << 5;
inline constexpr mask avx512fp16 = 1u << 6;
inline constexpr mask amx_bf16 = 1u << 7;  // with AMX-TILE
inline constexpr mask amx_int8 = 1u << 8;
inline constexpr mask neon = 1u << 9;
inline constexpr mask neondot = 1u << 10;
inline constexpr mask neoni8mm = 1u << 11;
inline constexpr mask neonbf16 = 1u << 12;
}  // namespace isa

// gemm:  c[i,j] = act(init[i,j] + sum_k a[i,k] * b[k,j])      0 <= i < m <= mr,  0 <= j < n,  k >= 0
//   init   c[i,j] if accumulate, else bias[j], else 0 (bias NULL); act is ReLU if relu, else nothing
//   a      [m, k] row-major f32, lda elements; any alignment. Only a[i, 0..k) is read.
//   b      packed tiles [ceil(n/nt)][k][nt] f32, 64-byte aligned, zero padded to nt columns; tile j starts at b + j*ldb
//   bias   [n] or NULL; read only when accumulate is false
//   c      [m, n] row-major f32, ldc elements; nothing outside [0,m) x [0,n) is written
// Each output is one chain of k fused multiply-adds (ref: multiply, then add) in ascending k, whatever m, n and the
// position of the row: bits depend on the row and the weights only. NaN propagates through ReLU.
struct gemm_args {
    const float *a;
    const float *b;
    const float *bias;
    float *c;
    size_t m, n, k, lda, ldb, ldc;
    bool accumulate, relu;
};
struct gemm_kernel {
    const char *name;
    void (*run)(const gemm_args &) noexcept;
    isa::mask needs;
    uint32_t mr, nt;  // most rows of a call, columns of a packed tile
};

// sketch:  s[i, g*B_K + u] = sum_{q<c} sign(g,q) * x[i, (g*c+q)*B_K + (u + rotation(g,q)) mod B_K]     0 <= u < B_K
//   x       [m, k] row-major f32, ldx elements, any alignment, read as zero at columns >= k (and not touched there)
//   s       [m, groups*B_K] row-major f32, lds elements; every element is written, nothing else
//   entries [groups][c]; rotation < B_K, any value; negative is 0 or 1
// The sum runs over ascending q. B_K is 16, 32, 64, 128 or 256. groups = ceil(k / (c*B_K)).
struct sketch_entry {
    uint16_t rotation;
    uint16_t negative;
};
struct sketch_args {
    const float *x;
    float *s;
    const sketch_entry *entries;
    size_t m, k, ldx, lds, block_k, c, groups;
};
struct sketch_kernel {
    const char *name;
    void (*run)(const sketch_args &) noexcept;
    isa::mask needs;
};

// activation:  y[i,j] = f(y[i,j]) in place for [m, n] row-major f32, ldy elements. One f per row of the table.
enum class activation : uint8_t { none, relu, gelu, gelu_tanh, tanh, sigmoid, silu };  // values of ss1_activation
struct activation_args {
    float *y;
    size_t m, n, ldy;
};
struct activation_kernel {
    const char *name;
    void (*run)(const activation_args &) noexcept;
    isa::mask needs;
    activation what;
};

// norm:  t = x[i,:] + r[i,:] (r may be NULL);  y[i,:] = (t - mean(t)) / sqrt(var(t) + eps) * gamma + beta
//   [m, n] row-major, leading dimension n for all; y may be x or r. Mean and (biased) variance over the n columns.
struct norm_args {
    const float *x, *r, *gamma, *beta;
    float *y;
    size_t m, n;
    float eps;
};
struct norm_kernel {
    const char *name;
    void (*run)(const norm_args &) noexcept;
    isa::mask needs;
};

// softmax:  y[i,j] = exp(scale*y[i,j] - max) / sum over the first n columns, in place, n >= 1
//   [m, n] row-major, ldy elements; columns n..ldy-1 are kept.
//   A row that holds NaN becomes NaN.
struct softmax_args {
    float *y;
    size_t m, n, ldy;
    float scale;
};
struct softmax_kernel {
    const char *name;
    void (*run)(const softmax_args &) noexcept;
    isa::mask needs;
};

// bag:  y[b,:] = sum over p in [offsets[b], offsets[b+1]) of table[indices[p], :], zero for an empty bag
//   table [*, d] row-major f32; y row b starts at y + b*ldy. Indices are valid: the caller has checked them.
//   offsets holds batch+1 values. The sum runs in ascending p.
struct bag_args {
    const float *table;
    const int64_t *indices;
    const int64_t *offsets;
    float *y;
    size_t batch, d, ldy;
};
struct bag_kernel {
    const char *name;
    void (*run)(const bag_args &) noexcept;
    isa::mask needs;
};

// interact:  z[b,p] = <t_i, t_j> for the p-th pair (i, j) with j < i (itself: j <= i), i ascending, then j
//   t_i is row i of the [f, d] row-major matrix at t + b*ldt, b < batch
//   z row b starts at z + b*ldz: f(f-1)/2 or f(f+1)/2 pairs
struct interact_args {
    const float *t;
    float *z;
    size_t batch, f, d, ldt, ldz;
    bool itself;
};
struct interact_kernel {
    const char *name;
    void (*run)(const interact_args &) noexcept;
    isa::mask needs;
};

// A family's rows: best first, the scalar reference (needs nothing) last.
template <class K>
struct table {
    const K *rows;
    size_t count;
    const K *begin() const noexcept { return rows; }
    const K *end() const noexcept { return rows + count; }
    // First row whose instruction sets are all in `usable`; the reference always is.
    const K &select(isa::mask usable) const noexcept {
        for (const K &k : *this)
            if ((k.needs & ~usable) == 0) return k;
        return rows[count - 1];
    }
};
table<gemm_kernel> gemm_kernels() noexcept;
table<sketch_kernel> sketch_kernels() noexcept;
table<activation_kernel> activation_kernels() noexcept;  // all functions in one table; see select_activation
table<norm_kernel> norm_kernels() noexcept;
table<softmax_kernel> softmax_kernels() noexcept;
table<bag_kernel> bag_kernels() noexcept;
table<interact_kernel> interact_kernels() noexcept;
// First usable row for `what`. ReLU has rows too, though gemm fuses it; `none` has no row (NULL).
const activation_kernel *select_activation(activation what, isa::mask usable) noexcept;

}  // namespace ss1
