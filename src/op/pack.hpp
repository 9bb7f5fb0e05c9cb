// SPDX-License-Identifier: Apache-2.0
// Dense matrices in the layouts that kernels read, and products with them.
#pragma once
#include "kernels.hpp"

namespace ss1 {

// Packs row-major b [k, n] with leading dimension ldb into tiles [ceil(n/nt)][k][nt], zero padded.
void pack_rows(const float *b, size_t k, size_t n, size_t ldb, size_t nt, float *packed) noexcept;

// Packs the transpose of row-major bt [n, k] the same way.
void pack_columns(const float *bt, size_t k, size_t n, size_t ldbt, size_t nt, float *packed) noexcept;

// y [m, n] = a [m, k] times packed b [k, n], whose tiles are ldb floats apart, plus bias; m is at most gemm.mr.
void multiply_packed(const gemm_kernel &gemm, const float *a, size_t lda, const float *b, size_t ldb, const float *bias,
                     float *y, size_t ldy, size_t m, size_t n, size_t k) noexcept;

// Widens bf16 [m, n] with leading dimension ld.
void widen(const uint16_t *from, size_t ld, size_t m, size_t n, float *to) noexcept;

}  // namespace ss1
