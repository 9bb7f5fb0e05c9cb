// SPDX-License-Identifier: Apache-2.0
// Self-attention: softmax(Q K^T / sqrt(d) + mask) V for every sequence and head.
#pragma once
#include "context.hpp"

namespace ss1 {

struct attention_kernels {
    const gemm_kernel *gemm = nullptr;
    const softmax_kernel *softmax = nullptr;
};

// Row s*tokens + t of q, k, v (leading dimension ld) holds the heads of token t one after the other, `head_size`
// elements each. The result replaces q.
//   mask  [batch, tokens] added to the scores of a key before scaling: 0, or masked_key for keys that are not seen;
//         NULL: all 0. A sequence whose keys are all masked sees all of them equally, as in Hugging Face's BERT.
struct attention_args {
    float *q;
    const float *k, *v, *mask;
    size_t batch, tokens, heads, head_size, ld;
    void *scratch;  // attention_scratch() BYTES at a multiple of 64
};

// Hugging Face's value. It swallows any score that is added, and is finite: exp(masked_key - masked_key) = 1.
inline constexpr float masked_key = -3.402823466e38f;

// Grows with batch and tokens: scratch for the largest serves all.
size_t attention_scratch(const ss1_context &context, const attention_kernels &kernels, size_t batch, size_t tokens,
                         size_t heads, size_t head_size) noexcept;

void attend(const ss1_context &context, const attention_kernels &kernels, const attention_args &args);

}  // namespace ss1
