// SPDX-License-Identifier: Apache-2.0
// Dot products of all pairs of feature vectors through Highway, in blocks of up to 4 rows x 4 columns of the triangle;
// the lanes run along d. The additions of lanes transpose a block at the same time: 3 instructions a product instead
// of 9.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/interact_f32_hwy.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

#if HWY_TARGET != HWY_SCALAR  // no row of the table uses Highway's fallback, which cannot interleave
HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

constexpr size_t columns = 4;
// 16 registers hold 8 sums and their operands, 32 hold 16.
constexpr size_t most_rows = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4 ? 2 : 4;

// Returns [a, b, c, e] in each block of 128 bits, where a is the sum of a's lanes in that block; the sum over the
// blocks remains to be done.
HWY_INLINE vec sum_in_blocks(vec a, vec b, vec c, vec e) {
    const hn::Repartition<uint64_t, floats> pairs;
    const auto ab = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
    const auto ce = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
    return hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)),
                   hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce)));
}

// Sets z[4 * place(i) + j] to the sum of the lanes of sum[i][j]. The order of the additions is the same for each.
template <size_t rows>
HWY_INLINE void reduce(const vec (&sum)[rows][columns], float *z) {
    vec row[most_rows];
#pragma GCC unroll 4
    for (size_t i = 0; i < most_rows; i++) {
        const vec(&s)[columns] = sum[i < rows ? i : 0];
        row[i] = sum_in_blocks(s[0], s[1], s[2], s[3]);
    }
#if HWY_TARGET == HWY_AVX3
    const vec a = hn::Add(hn::ConcatLowerLower(d, row[1], row[0]), hn::ConcatUpperUpper(d, row[1], row[0]));
    const vec b = hn::Add(hn::ConcatLowerLower(d, row[3], row[2]), hn::ConcatUpperUpper(d, row[3], row[2]));
    // a = [r0, r0', r1, r1'], b = [r2, r2', r3, r3']
    const vec both = hn::Add(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a),
                             hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a)));  // [r0, r2, r1, r3]
    hn::Store(both, d, z);
#elif HWY_TARGET == HWY_AVX2
    hn::Store(hn::Add(hn::ConcatLowerLower(d, row[1], row[0]), hn::ConcatUpperUpper(d, row[1], row[0])), d, z);
#else
    for (size_t i = 0; i < rows; i++) hn::Store(row[i], d, z + i * columns);
#endif
}

// reduce() writes row i of its block here.
constexpr size_t place(size_t i) {
    return HWY_TARGET == HWY_AVX3 && (i == 1 || i == 2) ? 3 - i : i;
}

template <size_t rows>
HWY_INLINE void multiply(const float *t, const float *const (&column)[columns], size_t n, size_t k, size_t end,
                         vec (&sum)[rows][columns]) {
    vec a[rows];
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++) a[i] = load_at(t + i * n, k, end);
#pragma GCC unroll 4
    for (size_t j = 0; j < columns; j++) {
        const vec b = load_at(column[j], k, end);
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) sum[i][j] = hn::MulAdd(a[i], b, sum[i][j]);
    }
}

// Writes the products of the rows at t with four columns to `block`, in the order of reduce().
template <size_t rows>
HWY_INLINE void products(const float *t, const float *const (&column)[columns], size_t n, float *block) {
    vec sum[rows][columns];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < columns; v++) sum[r][v] = hn::Zero(d);
    size_t k = 0;
    for (; k + lanes <= n; k += lanes) multiply<rows>(t, column, n, k, k + lanes, sum);
    if (k < n) multiply<rows>(t, column, n, k, n, sum);
    reduce<rows>(sum, block);
}

// Computes the products of the rows i .. i + rows - 1 with all rows before them (itself: and with themselves).
template <size_t rows>
HWY_INLINE void strip(const interact_args &args, const float *t, float *z, size_t i) {
    const size_t n = args.d,
                 pairs = i + args.itself;  // products of the first row; each next row has one more
    const float *row = t + i * n;
    // Prefetch the next strip, or after the last one the next sample, from L2. This and the separate diagonal gave +7
    // to +35 %.
    constexpr size_t line = 64 / sizeof(float);
    for (size_t k = 0; k < rows * n; k += line) hwy::Prefetch(row + rows * n + k);
    z += i * (pairs + args.itself - 1) / 2;
    HWY_ALIGN float block[most_rows * columns];
    size_t j = 0;
    for (; j + columns <= pairs; j += columns) {
        const float *first = t + j * n;
        products<rows>(row, {first, first + n, first + 2 * n, first + 3 * n}, n, block);
        const hn::FixedTag<float, columns> four;
        float *to = z + j;
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; to += pairs + r, r++)
            hn::StoreU(hn::Load(four, block + place(r) * columns), four, to);
    }
    for (; j < pairs + rows - 1; j += columns) {  // the diagonal
        const float *column[columns];
        for (size_t v = 0; v < columns; v++) column[v] = t + (j + v < args.f ? j + v : args.f - 1) * n;
        products<rows>(row, column, n, block);
        float *to = z + j;
        for (size_t r = 0; r < rows; to += pairs + r, r++)
            for (size_t v = 0; v < columns && j + v < pairs + r; v++) to[v] = block[place(r) * columns + v];
    }
}

// Calls the instance for the remaining rows, by counting down from `rows`.
template <size_t rows>
HWY_INLINE void last_strip(const interact_args &args, const float *t, float *z, size_t i) {
    if constexpr (rows > 1)
        if (i + rows > args.f) return last_strip<rows - 1>(args, t, z, i);
    if (i < args.f) strip<rows>(args, t, z, i);
}

HWY_NOINLINE void interact(const interact_args &args) {
    for (size_t b = 0; b < args.batch; b++) {
        const float *t = args.t + b * args.ldt;
        float *z = args.z + b * args.ldz;
        size_t i = args.itself ? 0 : 1;  // there is no row before row 0
        for (; i + most_rows <= args.f; i += most_rows) strip<most_rows>(args, t, z, i);
        last_strip<most_rows - 1>(args, t, z, i);
    }
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void interact_f32_hwy_avx512(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#elif HWY_TARGET == HWY_AVX2
void interact_f32_hwy_avx2(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#elif HWY_TARGET == HWY_SSE4
void interact_f32_hwy_sse4(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#elif HWY_TARGET == HWY_NEON
void interact_f32_hwy_neon(const interact_args &args) noexcept {
    HWY_NAMESPACE::interact(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
#endif
