// SPDX-License-Identifier: Apache-2.0
// Contracts of all kernels. A kernel is one row in kernels.inc; selection, tests and benchmarks loop over the tables.
// Files that are compiled with ISA flags include this header: it includes no standard headers but these two.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ss1 {

// Instruction sets, lowest level first. Each has a bit: a kernel may need several, and a context may use a set of them.
namespace isa {
using mask = uint32_t;
inline constexpr mask none = 0;
inline constexpr mask sse4 = 1u << 0;  // SSE4.2, AES and PCLMUL, as Highway's SSE4 target requires
inline constexpr mask avx2 = 1u << 1;  // with FMA, F16C, BMI2, as Highway's AVX2 target requires
inline constexpr mask avxvnni = 1u << 2;
inline constexpr mask avx512 = 1u << 3;  // F, BW, DQ, VL, CD
inline constexpr mask avx512vnni = 1u << 4;
inline constexpr mask avx512bf16 = 1u << 5;
inline constexpr mask avx512bf16_fast = 1u << 6;  // its dot product issues as often as an FMA: a matter of speed only
inline constexpr mask avx512fp16 = 1u << 7;
inline constexpr mask amx_bf16 = 1u << 8;  // with AMX-TILE
inline constexpr mask amx_int8 = 1u << 9;
inline constexpr mask neon = 1u << 10;
inline constexpr mask neondot = 1u << 11;
inline constexpr mask neoni8mm = 1u << 12;
inline constexpr mask neonbf16 = 1u << 13;
}  // namespace isa

// Element types of operands; the values are those of ss1_dtype. bf16 and f16 are passed as their 16 bits.
enum class dtype : uint8_t { f32 = 1, bf16 = 2, f16 = 3, s8 = 4, u8 = 5 };
constexpr size_t size_of(dtype t) noexcept {
    return t == dtype::f32 ? 4 : t == dtype::bf16 || t == dtype::f16 ? 2 : 1;
}

// activation:  y[i,j] = f(y[i,j]) in place for [m, n] row-major f32, ldy elements. Each row of the table has one f.
// The values are those of ss1_activation and gelu_bf16: GELU for results that are rounded to bf16 next, within 2^-14
// (from |x| = 1/64 on the rounding costs more), in a quarter of the time.
enum class activation : uint8_t { none, relu, gelu, gelu_tanh, tanh, sigmoid, silu, gelu_bf16 };
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

// What a thread calls before the first and after the last call of a kernel. AMX: load and release the tile
// configuration.
struct kernel_scope {
    void (*enter)() noexcept;
    void (*leave)() noexcept;
};

// gemm:  y[i,j] = act(start + sum_k a[i,k] * b[k,j]) + residual[i,j]      0 <= i < m,  0 <= j < n,  k >= 1
// There are two kinds of rows. A panel kernel takes at most mr rows of a and leaves an activation other than ReLU, the
// residual and the rounding to other kernels. A fused kernel takes any number of rows and does all of that.
//
// Both kinds:
//   a      [m, k] row-major, lda elements, any alignment. Only a[i, 0..k) is read, but for whole groups of row_multiple
//          rows: the memory of the last group must exist, the values behind row m do not matter. k is a multiple of
//          k_multiple: the caller pads `a` with zeros.
//   b      packed tiles [ceil(n/nt)][k/kr][nt][kr], 64-byte aligned, zero padded to nt columns; tile j starts at
//          b + j*ldb elements. kr neighbours in k are adjacent, as dot-product instructions read them.
//   types  of a and b by row: (f32, f32), (bf16, bf16), (s8, s8), (u8, s8): u8 is s8 + 128; (f32, bf16), (f32, s8),
//          (bf16, s8): b is widened
//   int8   the sum is an exact s32 that starts at column_start[j] (NULL: 0; for u8 -128 * sum_k b[k,j]), and
//          y = act(row_scale[i] * column_scale[j] * sum + bias[j]); if a is f32 or bf16 the sum is f32, and there is no
//          row_scale
//   start  bias[j], 0 if bias is NULL. Fused kernels add the bias at the end.
//   act    ReLU if relu, else nothing
//   ahead  NULL, or the b of a later call: a hint to prefetch it to L2 between the products
//   bias, column_scale, column_start: ceil(n/nt)*nt elements that may be read, but bias has n if a is f32
//   y      [m, n] row-major, ldy elements; f32 unless y_bf16; nothing outside [0,m) x [0,n) is written
// Each output is one chain in ascending k, whatever m, n and the position of the row: its bits depend on the row and
// the weights only. f32: k fused multiply-adds (ref: multiply, then add). bf16: the instruction adds products of pairs
// or quads in its own way. Rows with max_n add the sums of their lanes instead. NaN propagates, through ReLU too.
struct gemm_args {
    const void *a, *b;
    const float *bias;
    const float *row_scale, *column_scale;
    const int32_t *column_start;
    void *y;
    size_t m, n, k, lda, ldb, ldy;
    bool relu;
    const char *ahead;
};
// Panel kernels:
//   accumulate  start is y[i,j]; b is not s8
//   ahead_step  bytes to prefetch with each k of tile j, from ahead + j*ldb elements on
struct gemm_panel_args : gemm_args {
    bool accumulate;
    size_t ahead_step;
};
// Fused kernels:
//   activate     NULL, or the activation, called with blocks of the sums
//   residual     NULL, or [m, n] of y's type, ldr elements; may be y itself
//   y_bf16       y and residual are bf16
//   partial      NULL: each sum runs over all of k at once. Else mr * n (rounded up to 32) floats at a multiple of 64:
//                the sums are kept here while k is cut into parts, of which mr rows of a fit in L1.
//   b_beyond_l2  a hint: b comes from L3 or memory
//   ahead_bytes  bytes to prefetch from `ahead` on, whatever they are
struct gemm_fused_args : gemm_args {
    const void *residual;
    size_t ldr;
    void (*activate)(const activation_args &) noexcept;
    bool y_bf16;
    float *partial;
    bool b_beyond_l2;
    size_t ahead_bytes;
};
// Estimates of a kernel's speed on one thread. linear_create() and linear_run() decide by them whether a sketch pays,
// and how many tasks a run is cut into.
struct gemm_rates {
    uint32_t macs_per_cycle;  // multiply-adds of a long run
    uint32_t macs_per_byte;   // multiply-adds in the time in which one byte comes from L3, at 25 GB/s
    uint32_t flops_per_ns;    // a low estimate; a multiply-add counts 2
};
struct gemm_kernel {
    const char *name;
    void (*panel)(const gemm_panel_args &) noexcept;  // one of the two is NULL
    void (*fused)(const gemm_fused_args &) noexcept;
    isa::mask needs;
    dtype a, b;
    uint32_t mr, nt, kr;  // rows of a panel, columns of a packed tile, neighbours in k that are adjacent
    uint32_t k_multiple;
    uint32_t max_n;  // the row is for layers of at most max_n outputs (and right for any); 0: for all layers
    gemm_rates rates;
    uint32_t row_multiple = 1;            // rows of a that are read together
    uint32_t tiles_at_once = 1;           // packed tiles that a panel is multiplied with together
    const kernel_scope *scope = nullptr;  // NULL: nothing to call
    bool cuts_k = false;                  // fused: uses `partial` and `ahead`; others ignore both
};

// sketch:  s_j[i, g*B_K + u] = sum_{q<c} sign(j,g,q) * x[i, (g*c+q)*B_K + (u + rotation(j,g,q)) mod B_K]   0 <= u < B_K
//   x       [m, k] row-major of type x, ldx elements, any alignment. Columns >= k count as zero and are not read.
//   s       `sketches` matrices [m, groups*B_K] row-major of type s, lds elements; s_j starts at s + j*sketch_stride
//           elements. Every element is written, nothing else.
//   entries [sketches][groups][c]; rotation < B_K, any value; negative is 0 or 1
// The sum runs in f32 over ascending q, from 0; bf16 is rounded to nearest even once, at the end; NaN stays NaN. B_K is
// 16, 32, 64, 128 or 256. groups = ceil(k / (c*B_K)). With c = 1 and zero entries a sketch converts and pads x.
struct sketch_entry {
    uint16_t rotation;
    uint16_t negative;
};
struct sketch_args {
    const void *x;
    void *s;
    const sketch_entry *entries;
    size_t m, k, ldx, lds, block_k, c, groups, sketches, sketch_stride;
};
struct sketch_kernel {
    const char *name;
    void (*run)(const sketch_args &) noexcept;
    isa::mask needs;
    dtype x, s;
};

// quantize:  q[i,j] = zero + round(s[i,j] / scale[i]),  scale[i] = max_j |s[i,j]| / 127,  0 <= j < n
//   s [m, n] row-major, lds elements; q [m, n] row-major, ldq elements: s8 if zero is 0, u8 if it is 128
//   scale[i] is NaN if the row holds a NaN, infinite if it holds an infinity (and so is each product with it), 0 if the
//   row is zero; q is then `zero`. Rounds to nearest even.
struct quantize_args {
    const void *s;
    void *q;
    float *scale;
    size_t m, n, lds, ldq;
    uint8_t zero;
};
struct quantize_kernel {
    const char *name;
    void (*run)(const quantize_args &) noexcept;
    isa::mask needs;
    dtype s;
};

// store:  y[i,j] = c[i,j] + residual[i,j] (NULL: 0), rounded to y's type: the last step after a panel gemm
//   c [m, n] row-major f32, ldc elements; y and residual [m, n] of type y, ldy and ldr elements. residual may be y,
//   and so may c if y is f32.
struct store_args {
    const float *c;
    void *y;
    const void *residual;
    size_t m, n, ldc, ldy, ldr;
};
struct store_kernel {
    const char *name;
    void (*run)(const store_args &) noexcept;
    isa::mask needs;
    dtype y;
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
//   [m, n] row-major, ldy elements; columns n..ldy-1 are kept. A row that holds NaN becomes NaN.
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

// attend:  y[i,:] = sum_j w[i,j] * v[j,:] / sum_j w[i,j],  w[i,j] = exp(scale * (s[i,j] - max_j s[i,j])),
//   s[i,j] = <q[i,:], k[j,:]> + mask[j] (NULL: 0)        0 <= i < m, 0 <= j < n: attention from m queries to the n
//   tokens of their sequence, for one head
//   q, y, k, v  [m, d], [m, d], [n, d], [n, d] row-major of the row's type, ld elements each; y may be q. Rows of q are
//               read in whole groups of row_multiple: the memory of the last group must exist, its values do not
//               matter. d is a multiple of d_multiple.
//   scratch     attend_scratch_bytes(n, d) bytes at a multiple of 64
// Sums run in f32; w may be rounded to the row's type. The bits of a row depend on q[i,:], k, v and mask only; a row of
// q that holds NaN becomes NaN.
struct attend_args {
    const void *q, *k, *v;
    const float *mask;
    void *y;
    void *scratch;
    size_t m, n, d, ld;
    float scale;
};
struct attend_kernel {
    const char *name;
    void (*run)(const attend_args &) noexcept;
    isa::mask needs;
    dtype type;
    uint32_t d_multiple;
    uint32_t mr;  // queries that it takes together: a cut of a head is best at a multiple
    uint32_t row_multiple = 1;
    const kernel_scope *scope = nullptr;
};
inline constexpr size_t attend_block_keys = 256;  // keys whose scores are in scratch together
// Keys and values, packed in up to 4 bytes an element and padded to multiples of 32 rows and columns, and the mask; for
// 32 queries the weights and scores of a block of keys, the sums, and three numbers (maximum, total, factor).
constexpr size_t attend_scratch_bytes(size_t n, size_t d) noexcept {
    return (n + 31) / 32 * 32 * (8 * ((d + 31) / 32 * 32) + 4) +
           32 * (2 * (attend_block_keys + 32) + 4 * (attend_block_keys + 16) + 4 * d + 12);
}

// Formats of an embedding table's rows: the values of ss1_table_dtype, and robe for rows scattered over a shared array.
enum class row_format : uint8_t { f32 = 1, bf16 = 2, f16 = 3, int8 = 4, int4 = 5, robe = 6 };
// BYTES of a row of d values, which is also the distance between two rows. The quantised formats are FBGEMM's fused
// layouts: int8: u8 q[d], f32 scale, f32 bias; int4: u8 q[ceil(d/2)], the first of two values in the low half, f16
// scale, f16 bias; value = scale * q + bias.
constexpr size_t row_bytes(row_format f, size_t d) noexcept {
    return f == row_format::int8                           ? d + 8
           : f == row_format::int4                         ? (d + 1) / 2 + 4
           : f == row_format::bf16 || f == row_format::f16 ? 2 * d
                                                           : 4 * d;
}

// Places the rows of one ROBE-Z table in the array that all tables of a model share; docs/format.md defines it.
struct robe_layout {
    uint64_t table_hash;  // hash of seed and table
    uint64_t places;      // number of places where a chunk can start: m / line
    uint64_t reciprocal;  // floor((2^64 - 1) / places)
    size_t chunk, line;   // floats in a chunk (Z), floats between two places
};

// bag:  y[b,:] = sum over p in [offsets[b], offsets[b+1]) of weights[p] * row(indices[p]),  0 <= b < batch
//   table    [rows] rows of d values, row_bytes() each, elements aligned; robe: the shared array f32, its first `chunk`
//            values repeated at its end
//   offsets  [batch]; the last bag ends at `end`; indices (and weights) may be read up to `end`
//   weights  NULL: all 1
//   y        row b starts at y + b*ldy; zeros for an empty bag
//   mean     divides a bag's sum by the number of its indices
// The sum runs in f32 in ascending p; int8 and int4 may sum weights[p] * bias separately. Returns true, unless
// `checked` and an offset is below its predecessor (the first: below 0) or above `end`, or an index is outside [0,
// rows): then it returns false, has not read through the bad value, and y is undefined. If not `checked` the caller has
// made sure.
struct bag_args {
    const void *table;
    const int64_t *indices, *offsets;
    const float *weights;
    float *y;
    size_t rows, d, batch, ldy;
    int64_t end;
    bool mean, checked;
    robe_layout robe;
};
struct bag_kernel {
    const char *name;
    bool (*run)(const bag_args &) noexcept;
    isa::mask needs;
    row_format format;
};

// interact:  z[b,p] = <t_i, t_j> for the p-th pair (i, j) with j < i (itself: j <= i), i ascending, then j
//   t_i is row i of the [f, d] row-major matrix at t + b*ldt, b < batch
//   z row b starts at z + b*ldz: f(f-1)/2 or f(f+1)/2 pairs
// The bits of a product depend on its two vectors and d only.
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

// cross:  y[i,j] = x0[i,j] * y[i,j] + x[i,j], in place: the step of DCNv2's cross network after the product
//   [m, n] row-major f32, each with its leading dimension. x may be x0.
struct cross_args {
    float *y;
    const float *x0, *x;
    size_t m, n, ldy, ldx0, ldx;
};
struct cross_kernel {
    const char *name;
    void (*run)(const cross_args &) noexcept;
    isa::mask needs;
};

// The rows of a family: the best first, the scalar reference (which needs nothing) last.
template <class K>
struct table {
    const char *family;
    const K *rows;
    size_t count;
    const K *begin() const noexcept { return rows; }
    const K *end() const noexcept { return rows + count; }
    // The first row whose instruction sets are all in `usable` and that `fits`, NULL if there is none.
    template <class F>
    const K *find(isa::mask usable, F &&fits) const noexcept {
        for (const K &k : *this)
            if ((k.needs & ~usable) == 0 && fits(k)) return &k;
        return nullptr;
    }
    // For families whose rows all do the same: the first usable row. The reference is always usable.
    const K &select(isa::mask usable) const noexcept {
        return *find(usable, [](const K &) { return true; });
    }
};

// All families, in the order in which ss1_get_info() lists them. Family f has f_args, f_kernel and f_kernels().
#define SS1_KERNEL_FAMILIES(X) \
    X(gemm) X(sketch) X(quantize) X(store) X(activation) X(norm) X(softmax) X(attend) X(bag) X(interact) X(cross)

#define SS1_DECLARE(family) table<family##_kernel> family##_kernels() noexcept;
SS1_KERNEL_FAMILIES(SS1_DECLARE)
#undef SS1_DECLARE

// Calls f(table) for the table of each family.
template <class F>
void for_each_family(F &&f) {
#define SS1_CALL(family) f(family##_kernels());
    SS1_KERNEL_FAMILIES(SS1_CALL)
#undef SS1_CALL
}

// The first usable row for layers of n outputs with packed weights of type b. For rows with max_n the rows of a are of
// type `narrow_a`: f32, or bf16 unless b is f32.
const gemm_kernel &select_gemm(dtype b, size_t n, dtype narrow_a, isa::mask usable) noexcept;
const sketch_kernel &select_sketch(dtype x, dtype s, isa::mask usable) noexcept;
const quantize_kernel &select_quantize(dtype s, isa::mask usable) noexcept;
const store_kernel &select_store(dtype y, isa::mask usable) noexcept;
const attend_kernel &select_attend(dtype type, size_t d, isa::mask usable) noexcept;
const bag_kernel &select_bag(row_format format, isa::mask usable) noexcept;
// ReLU has rows too, though gemm does it; `none` has no row (NULL).
const activation_kernel *select_activation(activation what, isa::mask usable) noexcept;

}  // namespace ss1
