// SPDX-License-Identifier: Apache-2.0
// GEMM for few columns (a click probability has one), a in f32: the lanes run along k instead of along columns that are
// not there. K = 256, N = 1 on AVX-512: 9 cycles a row, where a panel of 14 rows and one half tile takes 128. bf16 and
// int8 weights are widened; their x need not be rounded.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/gemm_narrow_hwy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

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

// `rows` rows of column j. Two chains a lane, whatever the number of rows, as one row alone would wait for its FMAs.
template <class B, size_t rows>
HWY_INLINE void column(const gemm_args &g, size_t j) {
    const float *a = static_cast<const float *>(g.a);
    const B *b = static_cast<const B *>(g.b) + j * g.ldb;
    vec even[rows], odd[rows];
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) even[i] = odd[i] = hn::Zero(d);
    size_t k = 0;
    for (; k + 2 * lanes <= g.k; k += 2 * lanes) {
        const vec b0 = read_at(b, k, k + lanes), b1 = read_at(b, k + lanes, k + 2 * lanes);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            even[i] = hn::MulAdd(hn::LoadU(d, a + i * g.lda + k), b0, even[i]);
            odd[i] = hn::MulAdd(hn::LoadU(d, a + i * g.lda + k + lanes), b1, odd[i]);
        }
    }
    for (; k < g.k; k += lanes) {
        const vec bk = read_at(b, k, g.k);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) even[i] = hn::MulAdd(read_at(a + i * g.lda, k, g.k), bk, even[i]);
    }
    for (size_t i = 0; i < rows; i++) {
        float &y = static_cast<float *>(g.y)[i * g.ldy + j];
        const float start = g.accumulate ? y : g.bias ? g.bias[j] : 0.0f;
        const float scale = g.column_scale ? g.column_scale[j] : 1.0f;
        const float sum = scale * hn::GetLane(hn::SumOfLanes(d, hn::Add(even[i], odd[i]))) + start;
        y = g.relu && sum < 0.0f ? 0.0f : sum;
    }
}

// Rows are a template parameter: count down from `rows` to the number there is.
template <class B, size_t rows>
HWY_NOINLINE void gemm_narrow(const gemm_args &g) noexcept {
    if constexpr (rows > 1)
        if (g.m < rows) return gemm_narrow<B, rows - 1>(g);
    if (g.m == 0) return;
    for (size_t j = 0; j < g.n; j++) column<B, rows>(g, j);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
void gemm_f32_8x1_hwy_avx512(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, 8>(g);
}
void gemm_bf16_8x1_hwy_avx512(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, 8>(g);
}
void gemm_s8_8x1_hwy_avx512(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<int8_t, 8>(g);
}
#elif HWY_TARGET == HWY_AVX2
void gemm_f32_4x1_hwy_avx2(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, 4>(g);
}
void gemm_bf16_4x1_hwy_avx2(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, 4>(g);
}
void gemm_s8_4x1_hwy_avx2(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<int8_t, 4>(g);
}
#elif HWY_TARGET == HWY_SSE4
void gemm_f32_4x1_hwy_sse4(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, 4>(g);
}
void gemm_bf16_4x1_hwy_sse4(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, 4>(g);
}
void gemm_s8_4x1_hwy_sse4(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<int8_t, 4>(g);
}
#elif HWY_TARGET == HWY_NEON
void gemm_f32_8x1_hwy_neon(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<float, 8>(g);
}
void gemm_bf16_8x1_hwy_neon(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<uint16_t, 8>(g);
}
void gemm_s8_8x1_hwy_neon(const gemm_args &g) noexcept {
    HWY_NAMESPACE::gemm_narrow<int8_t, 8>(g);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
