// SPDX-License-Identifier: Apache-2.0
// Self-attention: softmax((Q K^T + bias) / sqrt(d) + mask) V for every sequence and head, or with position terms.
#pragma once
#include <cstdint>

#include "base/context.hpp"
#include "op/position_terms.hpp"
#include "op/sequences.hpp"

namespace ss1 {

struct attention_kernels {
    const gemm_kernel *gemm = nullptr;
    const softmax_kernel *softmax = nullptr;
    const store_kernel *round = nullptr;  // to bf16
    // For heads without a bias, position terms or a window; NULL: these run by the kernels above, in f32.
    const attend_kernel *attend_f32 = nullptr, *attend_bf16 = nullptr;

    const attend_kernel *attend(dtype type) const noexcept { return type == dtype::bf16 ? attend_bf16 : attend_f32; }
};
attention_kernels select_attention(isa::mask usable, size_t head_size) noexcept;

// A row of q, k, v (leading dimension ld) holds the heads of one token, each of `head_size` elements, all f32 or all
// bf16. The result replaces q. Up to 15 rows past the last row of q may be read; their values are ignored. A sequence
// whose keys are all masked attends to all of them equally, as in Hugging Face's BERT. The bits of a sequence depend on
// nothing but itself.
struct attention_args {
    void *q;
    const void *k, *v;
    dtype type;
    std::span<const sequence> sequences;
    size_t heads, head_size, ld;
    void *scratch;  // attention_scratch() BYTES at a multiple of 64
    // [heads, 2 * bias_tokens - 1]: that of query i and key j is element bias_tokens - 1 + j - i; NULL: none. No
    // sequence has more than bias_tokens tokens.
    const float *bias = nullptr;
    size_t bias_tokens = 0;
    // A query sees keys at most this number of tokens away; the others cost nothing. If all of those are masked, it
    // attends to them equally.
    size_t window = SIZE_MAX;
    const position_terms *positions = nullptr;  // without a window; NULL: none
    // With position terms: a query whose own key is masked attends to all keys equally.
    bool masks_queries = false;
};

// For `batch` sequences of up to `tokens` tokens each. Grows with both: scratch for the largest serves all.
size_t attention_scratch(const ss1_context &context, const attention_kernels &kernels, const position_terms *positions,
                         size_t batch, size_t tokens, size_t heads, size_t head_size) noexcept;

void attend(const ss1_context &context, const attention_kernels &kernels, const attention_args &args);

}  // namespace ss1
