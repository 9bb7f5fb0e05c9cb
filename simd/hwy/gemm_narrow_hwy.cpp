// SPDX-License-Identifier: Apache-2.0
// GEMM for few columns (a click probability has one): the lanes run along k, since there are too few columns for them.
// K = 256, N = 1 on AVX-512: 10 cycles a row; a panel of 14 rows and one half tile takes 128. bf16 and int8 weights are
// widened, and so are rows of a in bf16.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/gemm_narrow_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

#if HWY_TARGET != HWY_SCALAR  // its only lane has no neighbour
HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

HWY_INLINE vec read_at(const int8_t *p, size_t j, size_t n) {
    const hn::Rebind<int8_t, floats> bytes;
    HWY_ALIGN int8_t copy[lanes] = {};
    for (size_t i = 0; j + lanes > n && i < n - j; i++) copy[i] = p[j + i];
    const auto v = j + lanes <= n ? hn::LoadU(bytes, p + j) : hn::Load(bytes, copy);
    return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<floats>(), v));
}

// Two vectors of floats, the cheapest to make from 2 * lanes values: if A is f32, the first and the second half; if A
// is bf16, which a shift and a mask widen in place, the values at even and at odd places.
struct two {
    vec first, second;
};
template <class A, class B>
HWY_INLINE two read_two(const B *p) {
    if constexpr (sizeof(A) == 4) {
        return {read_at(p, 0, lanes), read_at(p + lanes, 0, lanes)};
    } else if constexpr (sizeof(B) == 2) {
        const words dw;
        const auto pairs = hn::BitCast(dw, hn::LoadU(hn::Repartition<uint16_t, floats>(), p));
        return {hn::BitCast(d, hn::ShiftLeft<16>(pairs)), hn::BitCast(d, hn::And(pairs, hn::Set(dw, 0xffff0000u)))};
    } else {
        const hn::Rebind<int16_t, floats> d16;
        const auto bytes = hn::BitCast(d16, hn::LoadU(hn::Repartition<int8_t, decltype(d16)>(), p));
        const auto pairs = hn::PromoteTo(hn::RebindToSigned<floats>(), bytes);
        return {hn::ConvertTo(d, hn::ShiftRight<24>(hn::ShiftLeft<24>(pairs))),
                hn::ConvertTo(d, hn::ShiftRight<8>(pairs))};
    }
}

HWY_INLINE vec add_neighbours(vec a, vec b) {
    return hn::Add(hn::ConcatEven(d, b, a), hn::ConcatOdd(d, b, a));
}

// Returns the sum of all lanes of v[i] in lane i, i < n <= lanes, both powers of two. It adds neighbours log2(lanes)
// times, so that the bits of a sum do not depend on the others. 8 rows take 24 instructions on AVX-512, one by one 64.
template <size_t n, size_t vectors = n>
HWY_INLINE vec sum_lanes(const vec *v) {
    if constexpr (vectors > 1) {
        vec half[vectors / 2];
#pragma GCC unroll 4
        for (size_t i = 0; i < vectors / 2; i++) half[i] = add_neighbours(v[2 * i], v[2 * i + 1]);
        return sum_lanes<n, vectors / 2>(half);
    } else {
        vec sum = v[0];
#pragma GCC unroll 4
        for (size_t rest = lanes / n; rest > 1; rest /= 2) sum = add_neighbours(sum, sum);
        return sum;
    }
}

// Computes column j of `rows` rows from row m on. Each lane has two chains, whatever the number of rows: with one
// chain, a single row would wait for its FMAs.
template <class A, class B, size_t rows>
HWY_INLINE void column(const gemm_panel_args &g, size_t m, size_t j) {
    constexpr size_t padded = rows > 4 ? 8 : rows > 2 ? 4 : rows, group = padded < lanes ? padded : lanes;
    const A *a = static_cast<const A *>(g.a) + m * g.lda;
    const B *b = static_cast<const B *>(g.b) + j * g.ldb;
    vec even[padded], odd[padded];
#pragma GCC unroll 8
    for (size_t i = 0; i < padded; i++) even[i] = odd[i] = hn::Zero(d);
    size_t k = 0;
    for (; k + 2 * lanes <= g.k; k += 2 * lanes) {
        const two bk = read_two<A>(b + k);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            const two ak = read_two<A>(a + i * g.lda + k);
            even[i] = hn::MulAdd(ak.first, bk.first, even[i]);
            odd[i] = hn::MulAdd(ak.second, bk.second, odd[i]);
        }
    }
    for (; k < g.k; k += lanes) {
        const vec bk = read_at(b, k, g.k);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) even[i] = hn::MulAdd(read_at(a + i * g.lda, k, g.k), bk, even[i]);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < padded; i++) even[i] = hn::Add(even[i], odd[i]);
    float sums[8 + lanes];
#pragma GCC unroll 8
    for (size_t i = 0; i < padded; i += group) hn::StoreU(sum_lanes<group>(even + i), d, sums + i);
    const float scale = g.column_scale ? g.column_scale[j] : 1.0f, bias = g.bias ? g.bias[j] : 0.0f;
    for (size_t i = 0; i < rows; i++) {
        float &y = static_cast<float *>(g.y)[(m + i) * g.ldy + j];
        const float sum = scale * sums[i] + (g.accumulate ? y : bias);
        y = g.relu && sum < 0.0f ? 0.0f : sum;
    }
}

// Calls the instance for the remaining rows, by counting down from `rows`.
template <class A, class B, size_t rows>
HWY_INLINE void last_rows(const gemm_panel_args &g, size_t m) {
    if constexpr (rows > 0) {
        if (g.m - m < rows) return last_rows<A, B, rows - 1>(g, m);
        for (size_t j = 0; j < g.n; j++) column<A, B, rows>(g, m, j);
    }
}

template <class A, class B, size_t rows>
HWY_NOINLINE void gemm_narrow(const gemm_panel_args &g) noexcept {
    size_t m = 0;
    for (; m + rows <= g.m; m += rows)
        for (size_t j = 0; j < g.n; j++) column<A, B, rows>(g, m, j);
    last_rows<A, B, rows - 1>(g, m);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void gemm_f32_f32_64x1_hwy_avx512(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, float, 8>(g);
}
void gemm_f32_bf16_64x1_hwy_avx512(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, uint16_t, 8>(g);
}
void gemm_f32_s8_64x1_hwy_avx512(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, int8_t, 8>(g);
}
void gemm_bf16_bf16_64x1_hwy_avx512(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, uint16_t, 8>(g);
}
void gemm_bf16_s8_64x1_hwy_avx512(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, int8_t, 8>(g);
}
#elif HWY_TARGET == HWY_AVX2
void gemm_f32_f32_64x1_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, float, 4>(g);
}
void gemm_f32_bf16_64x1_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, uint16_t, 4>(g);
}
void gemm_f32_s8_64x1_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, int8_t, 4>(g);
}
void gemm_bf16_bf16_64x1_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, uint16_t, 4>(g);
}
void gemm_bf16_s8_64x1_hwy_avx2(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, int8_t, 4>(g);
}
#elif HWY_TARGET == HWY_SSE4
void gemm_f32_f32_64x1_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, float, 4>(g);
}
void gemm_f32_bf16_64x1_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, uint16_t, 4>(g);
}
void gemm_f32_s8_64x1_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, int8_t, 4>(g);
}
void gemm_bf16_bf16_64x1_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, uint16_t, 4>(g);
}
void gemm_bf16_s8_64x1_hwy_sse4(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, int8_t, 4>(g);
}
#elif HWY_TARGET == HWY_NEON
void gemm_f32_f32_64x1_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, float, 8>(g);
}
void gemm_f32_bf16_64x1_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, uint16_t, 8>(g);
}
void gemm_f32_s8_64x1_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, int8_t, 8>(g);
}
void gemm_bf16_bf16_64x1_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, uint16_t, 8>(g);
}
void gemm_bf16_s8_64x1_hwy_neon(const gemm_panel_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, int8_t, 8>(g);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
#endif
