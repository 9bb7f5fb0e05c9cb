// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt whose bits do not depend on the number of rows.
#pragma once
#include <cublasLt.h>

#include <vector>

#include "../simd/kernels.hpp"
#include "plugin.hpp"

namespace ss1::cuda {

// The handle of a device, made once. @return NULL if cuBLASLt cannot start
cublasLtHandle_t handle_of(int device);

// d_b = a_b . w_b^T (+ bias, ReLU, residual) for each b of a batch; everything is row-major.
//   a  [m, k], lda elements, of type `operands`;  w [n, k], k elements a row;  d [m, n], ldd elements: f32 or bf16, and
//   s32 for s8 operands. All rows start at multiples of 16 bytes.
struct product_shape {
    dtype operands, results;  // results: f32 stands for s32 if operands is s8
    size_t n, k, lda;
    size_t batch, a_stride, w_stride, d_stride;  // elements from one member of the batch to the next
    bool bias, relu;                             // a bias has the type of d, and batch * d_stride values
    bool operator==(const product_shape &) const = default;
};

struct product_args {
    size_t m;
    const void *a, *w, *bias;
    const void *residual;  // NULL for none
    size_t ldr;
    void *d;
    size_t ldd;
};

// The algorithms of a shape: the fastest one for few rows, for more, and so on. create() times those that cuBLASLt
// proposes, without sums that are split over blocks, and takes only those with the same bits as the first: the choice
// never shows in the results.
class product {
  public:
    struct choice {
        size_t max_rows;
        cublasLtMatmulAlgo_t algorithm;
    };
    // @param max_rows  rows of the largest run
    ss1_status create(int device, const product_shape &shape, size_t max_rows);
    ss1_status run(const product_args &args, cudaStream_t stream) const;

  private:
    product_shape shape_{};
    cublasLtHandle_t handle_ = nullptr;
    std::vector<choice> choices_;  // by ascending max_rows
};

}  // namespace ss1::cuda
