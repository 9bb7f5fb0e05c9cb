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

// Element types of operands; the values of ss1_dtype. bf16 and f16 are handled as their 16 bits.
enum class dtype : uint8_t { f32 = 1, bf16 = 2, f16 = 3, s8 = 4, u8 = 5 };
constexpr size_t size_of(dtype t) noexcept {
    return t == dtype::f32 ? 4 : t == dtype::bf16 || t == dtype::f16 ? 2 : 1;
}

// activation:  y[i,j] = f(y[i,j]) in place for [m, n] row-major f32, ldy elements. One f per row of the table.
// Values of ss1_activation, and gelu_bf16: GELU for results that are rounded to bf16 next, within 2^-14 (rounding costs
// more from 1/64 on) in a quarter of the time.
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

// gemm:  y[i,j] = act(start + sum_k a[i,k] * b[k,j]) + residual[i,j]      0 <= i < m,  0 <= j < n,  k >= 1
//   a      [m, k] row-major, lda elements, any alignment. Only a[i, 0..k) is read, except by rows with `fused`: they
//          read whole groups of 16 rows (memory must be there, its values do not matter). k is a multiple of
//          k_multiple: whoever makes `a` pads it with zeros.
//   b      packed tiles [ceil(n/nt)][k/kr][nt][kr], 64-byte aligned, zero padded to nt columns; tile j starts at
//          b + j*ldb elements. kr neighbours in k lie together, as the dot-product instructions want them.
//   types  of a and b by row: (f32, f32), (bf16, bf16), (s8, s8), (u8, s8): u8 is s8 + 128; (f32, bf16), (f32, s8),
//          (bf16, s8): b is widened
//   start  bias[j], 0 if bias is NULL; y[i,j] if accumulate (rows without `fused`, a not of an integer type). Rows with
//          `fused` add the bias at the end.
//   int8   the sum is an exact s32 that starts at column_start[j] (NULL: 0; for u8 -128 * sum_k b[k,j]), and
//          y = act(row_scale[i] * column_scale[j] * sum + bias[j]); if a is f32 or bf16 the sum is f32, and no
//          row_scale
//   act    ReLU if relu, else nothing. Rows with `fused` also call `activate` on blocks of the sums unless it is NULL,
//          add `residual` (type of y, ldr elements; may be y itself) unless it is NULL, and write bf16 if y_bf16. For
//          the other rows activate and residual are NULL and y is f32.
//   partial      for rows with `fused`: 32 * n (rounded up to 32) floats at a multiple of 64, where sums wait when k is
//                walked in parts whose 32 rows of a fit in L1; NULL: k is walked at once
//   b_beyond_l2  a hint to rows with `fused`: b comes from L3 or memory
//   ahead        NULL, or what a later call will read as b: a hint to fetch it to L2 among the products. Rows with
//                `fused` fetch `ahead_bytes`, of whatever is there; the others ahead_step bytes with each k of tile j,
//                from ahead + j*ldb elements on
//   bias, column_scale, column_start: of ceil(n/nt)*nt elements that may be read, but bias of n if a is f32
//   y      [m, n] row-major, ldy elements; nothing outside [0,m) x [0,n) is written
// Each output is one chain in ascending k, whatever m, n and the position of the row: its bits depend on the row and
// the weights only. f32: k fused multiply-adds (ref: multiply, then add). bf16: products of pairs or quads are added as
// the instruction does it. Rows with max_n add what their lanes sum up instead. NaN propagates, through ReLU too.
struct gemm_args {
    const void *a, *b;
    const float *bias;
    const float *row_scale, *column_scale;
    const int32_t *column_start;
    void *y;
    const void *residual;
    float *partial;
    void (*activate)(const activation_args &) noexcept;
    size_t m, n, k, lda, ldb, ldy, ldr;
    bool accumulate, relu, y_bf16, b_beyond_l2;
    const char *ahead;
    size_t ahead_bytes, ahead_step;
};
struct gemm_kernel {
    const char *name;
    void (*run)(const gemm_args &) noexcept;
    isa::mask needs;
    dtype a, b;
    bool fused;           // does the whole epilogue, takes any m
    uint32_t mr, nt, kr;  // rows of a panel (without `fused` m <= mr), columns of a packed tile, k's lying together
    uint32_t k_multiple;
    uint32_t max_n;  // for layers of at most so many outputs (it is right for any); 0: for all
};

// Kernels that need isa::amx_* run between these two, on one thread: they load and release the tile configuration.
void amx_configure() noexcept;
void amx_release() noexcept;

// sketch:  s_j[i, g*B_K + u] = sum_{q<c} sign(j,g,q) * x[i, (g*c+q)*B_K + (u + rotation(j,g,q)) mod B_K]   0 <= u < B_K
//   x       [m, k] row-major of type x, ldx elements, any alignment, read as zero at columns >= k (and not touched)
//   s       `sketches` matrices [m, groups*B_K] row-major of type s, lds elements; s_j starts at s + j*sketch_stride
//           elements. Every element is written, nothing else.
//   entries [sketches][groups][c]; rotation < B_K, any value; negative is 0 or 1
// The sum runs in f32 over ascending q, from 0; bf16 is rounded to nearest even once, at the end; NaN stays NaN. B_K is
// 16, 32, 64, 128 or 256. groups = ceil(k / (c*B_K)). With c = 1 and zero entries it converts and pads.
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
//   s [m, n] row-major f32, lds elements; q [m, n] row-major, ldq elements: s8 if zero is 0, u8 if it is 128
//   scale[i] is NaN if the row holds one, infinite if it holds an infinity (so is what is multiplied by it), 0 for a
//   row of zeros; q is then `zero`. Rounds to nearest even.
struct quantize_args {
    const float *s;
    void *q;
    float *scale;
    size_t m, n, lds, ldq;
    uint8_t zero;
};
struct quantize_kernel {
    const char *name;
    void (*run)(const quantize_args &) noexcept;
    isa::mask needs;
};

// store:  y[i,j] = c[i,j] + residual[i,j] (NULL: 0) rounded to y's type: what gemm rows without `fused` leave to do
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

// attend:  y[i,:] = sum_j w[i,j] * v[j,:] / sum_j w[i,j],  w[i,j] = exp(scale * (s[i,j] - max_j s[i,j])),
//   s[i,j] = <q[i,:], k[j,:]> + mask[j] (NULL: 0)        0 <= i < m, 0 <= j < n: the attention of some queries of one
//   head of a sequence of n tokens
//   q, y, k, v  [m, d], [m, d], [n, d], [n, d] row-major bf16, ld elements each; y may be q. Of q the rows up to the
//               next multiple of 16 are read (memory must be there, its values do not matter). d is a multiple of
//               d_multiple.
//   scratch     attend_scratch_bytes(n, d) bytes at a multiple of 64
// Sums run in f32, w may be rounded to bf16. The bits of a row depend on q[i,:], k, v and mask only; a row of q that
// holds NaN becomes NaN.
struct attend_args {
    const uint16_t *q, *k, *v;
    const float *mask;
    uint16_t *y;
    void *scratch;
    size_t m, n, d, ld;
    float scale;
};
struct attend_kernel {
    const char *name;
    void (*run)(const attend_args &) noexcept;
    isa::mask needs;
    uint32_t d_multiple;
};
inline constexpr size_t attend_block_keys = 256;  // whose scores are there at once
// Keys and values packed by 32, and for 32 queries: weights and scores of a block, sums, and three numbers.
constexpr size_t attend_scratch_bytes(size_t n, size_t d) noexcept {
    return 4 * ((n + 31) / 32 * 32) * d +
           32 * (2 * (attend_block_keys + 32) + 4 * (attend_block_keys + 16) + 4 * d + 12);
}

// Formats of an embedding table's rows: the values of ss1_table_dtype, and rows that lie scattered in a shared array.
enum class row_format : uint8_t { f32 = 1, bf16 = 2, f16 = 3, int8 = 4, int4 = 5, robe = 6 };
// BYTES of a row of d values, which is all that lies between two rows. The quantised ones are FBGEMM's fused layouts:
// int8: u8 q[d], f32 scale, f32 bias; int4: u8 q[ceil(d/2)], the first of two values in the low half, f16 scale, f16
// bias; value = scale * q + bias.
constexpr size_t row_bytes(row_format f, size_t d) noexcept {
    return f == row_format::int8                           ? d + 8
           : f == row_format::int4                         ? (d + 1) / 2 + 4
           : f == row_format::bf16 || f == row_format::f16 ? 2 * d
                                                           : 4 * d;
}

// Where the rows of one ROBE-Z table lie in the array that all tables of a model share; src/io/README.md defines it.
struct robe_layout {
    uint64_t table_hash;  // of seed and table
    uint64_t places;      // where a chunk can start: m / line
    uint64_t reciprocal;  // floor((2^64 - 1) / places)
    size_t chunk, line;   // floats of a chunk (Z) and between two places
};

// bag:  y[b,:] = sum over p in [offsets[b], offsets[b+1]) of weights[p] * row(indices[p]),  0 <= b < batch
//   table    [rows] rows of d values, row_bytes() each, elements aligned; robe: the shared array f32, its first `chunk`
//            values repeated behind it
//   offsets  [batch]; the last bag ends at `end`, up to which indices (and weights) may be read
//   weights  NULL: all 1
//   y        row b starts at y + b*ldy; zeros for an empty bag
//   mean     divides a bag's sum by the number of its indices
// The sum runs in f32 in ascending p; int8 and int4 may add up weights[p] * bias apart. Returns true. If `checked`,
// false at the first offset that is below the one before it (0 before the first) or above `end`, or index outside
// [0, rows): nothing was read by it, y is then undefined. If not `checked` the caller knows that there is none.
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

// cross:  y[i,j] = x0[i,j] * y[i,j] + x[i,j]: a layer of DCNv2's cross network behind its products, in place
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

// A family's rows: best first, the scalar reference (needs nothing) last.
template <class K>
struct table {
    const K *rows;
    size_t count;
    const K *begin() const noexcept { return rows; }
    const K *end() const noexcept { return rows + count; }
    // First row whose instruction sets are all in `usable` and that `fits`, NULL if there is none.
    template <class F>
    const K *find(isa::mask usable, F &&fits) const noexcept {
        for (const K &k : *this)
            if ((k.needs & ~usable) == 0 && fits(k)) return &k;
        return nullptr;
    }
    // The same for families whose rows all do the same; the reference always can.
    const K &select(isa::mask usable) const noexcept {
        return *find(usable, [](const K &) { return true; });
    }
};
table<gemm_kernel> gemm_kernels() noexcept;
table<sketch_kernel> sketch_kernels() noexcept;
table<quantize_kernel> quantize_kernels() noexcept;
table<store_kernel> store_kernels() noexcept;
table<activation_kernel> activation_kernels() noexcept;  // all functions in one table
table<norm_kernel> norm_kernels() noexcept;
table<softmax_kernel> softmax_kernels() noexcept;
table<attend_kernel> attend_kernels() noexcept;
table<bag_kernel> bag_kernels() noexcept;
table<interact_kernel> interact_kernels() noexcept;
table<cross_kernel> cross_kernels() noexcept;

// The first usable row for layers of n outputs with packed weights of type b; among those with max_n, whose rows of a
// are of type `narrow_a`: f32, or bf16 unless b is f32.
const gemm_kernel &select_gemm(dtype b, size_t n, dtype narrow_a, isa::mask usable) noexcept;
const sketch_kernel &select_sketch(dtype x, dtype s, isa::mask usable) noexcept;
const store_kernel &select_store(dtype y, isa::mask usable) noexcept;
const bag_kernel &select_bag(row_format format, isa::mask usable) noexcept;
// ReLU has rows too, though gemm fuses it; `none` has no row (NULL).
const activation_kernel *select_activation(activation what, isa::mask usable) noexcept;

}  // namespace ss1
