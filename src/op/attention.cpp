// SPDX-License-Identifier: Apache-2.0
// A task takes whole heads: K^T and V packed once (96 KB at 128 tokens of 64 elements, in L2), then mr rows of Q at a
// time, whose scores (14 x 128 floats, 7 KB) stay in L1 from the first product to the second.
#include "op/attention.hpp"

#include <cmath>

#include "op/pack.hpp"
#include "op/split.hpp"

namespace ss1 {
namespace {

// Scratch of one task, in floats; every part is a multiple of a cache line.
struct layout {
    size_t keys, values, lds, total;
};

layout make_layout(const gemm_kernel &gemm, size_t tokens, size_t head_size) noexcept {
    constexpr size_t line = 16;
    const auto lines = [](size_t n) { return (n + line - 1) / line * line; };
    const auto tiled = [&](size_t n) { return (n + gemm.nt - 1) / gemm.nt * gemm.nt; };
    layout l;
    l.keys = lines(tiled(tokens) * head_size);
    l.values = lines(tiled(head_size) * tokens);
    l.lds = lines(tokens) + line;  // rows at a power of two would meet in a few L1 sets
    l.total = l.keys + l.values + gemm.mr * l.lds;
    return l;
}

size_t tasks_of(const ss1_context &context, size_t batch, size_t tokens, size_t heads, size_t head_size) noexcept {
    // 16 multiply-adds take the time of one float from L2.
    const double work = static_cast<double>(batch * heads) * static_cast<double>(tokens) * static_cast<double>(tokens) *
                        static_cast<double>(head_size) / 8;
    return task_count(context, batch * heads, work);
}

// y [m, n] = a [m, k] times packed b, plus bias.
void multiply(const gemm_kernel &gemm, const float *a, size_t lda, const float *b, const float *bias, float *y,
              size_t ldy, size_t m, size_t n, size_t k) noexcept {
    gemm_args g{};
    g.a = a;
    g.lda = lda;
    g.b = b;
    g.ldb = k * gemm.nt;
    g.bias = bias;
    g.y = y;
    g.ldy = ldy;
    g.m = m;
    g.n = n;
    g.k = k;
    gemm.run(g);
}

void attend_head(const attention_kernels &kernels, const attention_args &a, const layout &l, size_t sequence,
                 size_t head, float *scratch) noexcept {
    const gemm_kernel &gemm = *kernels.gemm;
    const size_t T = a.tokens, d = a.head_size, at = sequence * T * a.ld + head * d;
    float *keys = scratch, *values = keys + l.keys, *scores = values + l.values;
    pack_columns(a.k + at, d, T, a.ld, gemm.nt, keys);
    pack_rows(a.v + at, T, d, a.ld, gemm.nt, values);
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    const float *mask = a.mask ? a.mask + sequence * T : nullptr;
    const size_t panels = (T + gemm.mr - 1) / gemm.mr;
    for (size_t p = 0; p < panels; ++p) {
        // Panels of like height, as in the linear layer.
        const size_t i0 = T * p / panels, m = T * (p + 1) / panels - i0;
        float *rows = a.q + at + i0 * a.ld;
        multiply(gemm, rows, a.ld, keys, mask, scores, l.lds, m, T, d);
        kernels.softmax->run({scores, m, T, l.lds, scale});
        multiply(gemm, scores, l.lds, values, nullptr, rows, a.ld, m, d, T);
    }
}

}  // namespace

size_t attention_scratch(const ss1_context &context, const attention_kernels &kernels, size_t batch, size_t tokens,
                         size_t heads, size_t head_size) noexcept {
    return tasks_of(context, batch, tokens, heads, head_size) * make_layout(*kernels.gemm, tokens, head_size).total *
           sizeof(float);
}

void attend(const ss1_context &context, const attention_kernels &kernels, const attention_args &a) {
    const layout l = make_layout(*kernels.gemm, a.tokens, a.head_size);
    const size_t n = a.batch * a.heads, tasks = tasks_of(context, a.batch, a.tokens, a.heads, a.head_size);
    parallel(context, tasks, [&](size_t task) {
        float *scratch = static_cast<float *>(a.scratch) + task * l.total;
        for (size_t i = n * task / tasks; i < n * (task + 1) / tasks; ++i)
            attend_head(kernels, a, l, i / a.heads, i % a.heads, scratch);
    });
}

}  // namespace ss1
