// SPDX-License-Identifier: Apache-2.0
// A task takes whole heads. In f32: K^T and V packed once (96 KB at 128 tokens of 64 elements, in L2), then mr rows of
// Q at a time, whose scores (14 x 128 floats, 7 KB) stay in L1 from the first product to the second. bf16 has a kernel
// of its own where there are tiles; elsewhere a head is widened, which costs less than its exponentials.
#include "op/attention.hpp"

#include <cmath>

#include "half.hpp"
#include "op/pack.hpp"
#include "op/split.hpp"

namespace ss1 {
namespace {

// Scratch of one task, in floats; every part is a multiple of a cache line.
struct layout {
    size_t keys, values, lds, wide, total;
};

layout make_layout(const attention_kernels &kernels, size_t tokens, size_t head_size) noexcept {
    constexpr size_t line = 16;
    const gemm_kernel &gemm = *kernels.gemm;
    const auto lines = [](size_t n) { return (n + line - 1) / line * line; };
    const auto tiled = [&](size_t n) { return (n + gemm.nt - 1) / gemm.nt * gemm.nt; };
    layout l;
    l.keys = lines(tiled(tokens) * head_size);
    l.values = lines(tiled(head_size) * tokens);
    l.lds = lines(tokens) + line;  // rows at a power of two would meet in a few L1 sets
    l.wide = lines(tokens * head_size);
    l.total = l.keys + l.values + lines(gemm.mr * l.lds) + 3 * l.wide;
    if (kernels.attend) l.total = std::max(l.total, attend_scratch_bytes(tokens, head_size) / sizeof(float));
    return l;
}

// 16 multiply-adds take the time of one float from L2.
double floats_of(size_t length, size_t head_size) noexcept {
    return static_cast<double>(length) * static_cast<double>(length + head_size) * static_cast<double>(head_size) / 8;
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

// One head in f32, as it lies there.
struct head_rows {
    float *q;
    const float *k, *v;
    size_t ld;
};

void attend_f32(const attention_kernels &kernels, const head_rows &head, const sequence &s, size_t d, const layout &l,
                float *scratch) noexcept {
    const gemm_kernel &gemm = *kernels.gemm;
    const size_t T = s.length;
    float *keys = scratch, *values = keys + l.keys, *scores = values + l.values;
    pack_columns(head.k, d, T, head.ld, gemm.nt, keys);
    pack_rows(head.v, T, d, head.ld, gemm.nt, values);
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    const size_t panels = (T + gemm.mr - 1) / gemm.mr;
    for (size_t p = 0; p < panels; ++p) {
        // Panels of like height, as in the linear layer.
        const size_t i0 = T * p / panels, m = T * (p + 1) / panels - i0;
        float *rows = head.q + i0 * head.ld;
        multiply(gemm, rows, head.ld, keys, s.mask, scores, l.lds, m, T, d);
        kernels.softmax->run({scores, m, T, l.lds, scale});
        multiply(gemm, scores, l.lds, values, nullptr, rows, head.ld, m, d, T);
    }
}

void widen(const uint16_t *from, size_t ld, size_t rows, size_t d, float *to) noexcept {
    for (size_t i = 0; i < rows; ++i)
        for (size_t j = 0; j < d; ++j) to[i * d + j] = bf16_to_f32(from[i * ld + j]);
}

void attend_head(const attention_kernels &kernels, const attention_args &a, const sequence &s, size_t head,
                 const layout &l, float *scratch) noexcept {
    const size_t d = a.head_size, at = s.first * a.ld + head * d;
    if (a.type == dtype::f32) {
        const head_rows rows = {static_cast<float *>(a.q) + at, static_cast<const float *>(a.k) + at,
                                static_cast<const float *>(a.v) + at, a.ld};
        return attend_f32(kernels, rows, s, d, l, scratch);
    }
    uint16_t *q = static_cast<uint16_t *>(a.q) + at;
    const uint16_t *k = static_cast<const uint16_t *>(a.k) + at, *v = static_cast<const uint16_t *>(a.v) + at;
    if (kernels.attend)
        return kernels.attend->run(
            {q, k, v, s.mask, q, scratch, s.length, d, a.ld, 1 / std::sqrt(static_cast<float>(d))});
    float *wide = scratch + l.total - 3 * l.wide;
    widen(q, a.ld, s.length, d, wide);
    widen(k, a.ld, s.length, d, wide + l.wide);
    widen(v, a.ld, s.length, d, wide + 2 * l.wide);
    attend_f32(kernels, {wide, wide + l.wide, wide + 2 * l.wide, d}, s, d, l, scratch);
    kernels.round->run({wide, q, nullptr, s.length, d, d, a.ld, 0});
}

// Heads differ in work where sequences differ in length: each goes to the task in whose share of all work it begins.
void attend_share(const attention_kernels &kernels, const attention_args &a, double begin, double end, const layout &l,
                  float *scratch) noexcept {
    double at = 0;
    for (const sequence &s : a.sequences) {
        const double work = floats_of(s.length, a.head_size);
        for (size_t head = 0; head < a.heads; ++head, at += work)
            if (at >= begin && at < end) attend_head(kernels, a, s, head, l, scratch);
    }
}

}  // namespace

attention_kernels select_attention(isa::mask usable, size_t head_size) noexcept {
    const attend_kernel *attend = attend_kernels().find(
        usable, [head_size](const attend_kernel &k) { return k.needs != isa::none && head_size % k.d_multiple == 0; });
    return {&select_gemm(dtype::f32, SIZE_MAX, dtype::f32, usable), &softmax_kernels().select(usable),
            &select_store(dtype::bf16, usable), attend};
}

size_t attention_scratch(const ss1_context &context, const attention_kernels &kernels, size_t batch, size_t tokens,
                         size_t heads, size_t head_size) noexcept {
    const double work = static_cast<double>(batch * heads) * floats_of(tokens, head_size);
    return task_count(context, batch * heads, work) * make_layout(kernels, tokens, head_size).total * sizeof(float);
}

void attend(const ss1_context &context, const attention_kernels &kernels, const attention_args &a) {
    size_t longest = 0;
    double work = 0;
    for (const sequence &s : a.sequences) {
        longest = std::max(longest, s.length);
        work += static_cast<double>(a.heads) * floats_of(s.length, a.head_size);
    }
    const layout l = make_layout(kernels, longest, a.head_size);
    const size_t tasks = task_count(context, a.sequences.size() * a.heads, work);
    const bool tiles = a.type == dtype::bf16 && kernels.attend && kernels.attend->needs & isa::amx_bf16;
    parallel(context, tasks, [&](size_t task) {
        const auto share = [&](size_t t) {
            return t == tasks ? HUGE_VAL : work * static_cast<double>(t) / static_cast<double>(tasks);
        };
        if (tiles) amx_configure();
        attend_share(kernels, a, share(task), share(task + 1), l, static_cast<float *>(a.scratch) + task * l.total);
        if (tiles) amx_release();
    });
}

}  // namespace ss1
