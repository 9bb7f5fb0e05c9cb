// SPDX-License-Identifier: Apache-2.0
// A task takes whole heads. If the heads cannot be shared out evenly, it takes rows of heads, and packs the keys and
// values of such a head itself. A head has a kernel of its own where the machine has FMAs. Elsewhere, and with a bias,
// position terms or a window, which these kernels do not have, products and softmax are separate and in f32: K^T and V
// are packed once (96 KB at 128 tokens of 64 elements, in L2); then mr rows of Q at a time are multiplied, whose scores
// (14 x 128 floats, 7 KB) stay in L1 from the first product to the second. With a window, some hundred queries at a
// time are taken with the keys around them: time and memory are those of the window.
#include "op/attention.hpp"

#include <cmath>

#include "base/kernel_scope.hpp"
#include "base/round.hpp"
#include "op/pack.hpp"
#include "op/split.hpp"

namespace ss1 {
namespace {

// Scratch of one task, in floats; every part is a multiple of a cache line.
struct layout {
    size_t keys, values, lds, scores, positions, wide, total;
};

layout make_layout(const attention_kernels &kernels, const position_terms *positions, size_t tokens,
                   size_t head_size) noexcept {
    constexpr size_t line = 16;
    const gemm_kernel &gemm = *kernels.gemm;
    const auto lines = [](size_t n) { return round_up(n, line); };
    const auto tiled = [&](size_t n) { return round_up(n, gemm.nt); };
    layout l;
    l.keys = lines(tiled(tokens) * head_size);
    l.values = lines(tiled(head_size) * tokens);
    l.lds = lines(tokens) + line;  // at a distance of a power of two, rows would share a few sets of L1
    l.scores = lines(gemm.mr * l.lds);
    l.positions = positions ? position_scratch(gemm, *positions, tokens) : 0;
    l.wide = lines(tokens * head_size);
    l.total = l.keys + l.values + l.scores + l.positions + 3 * l.wide;
    if (kernels.attend_f32 || kernels.attend_bf16)
        l.total = std::max(l.total, attend_scratch_bytes(tokens, head_size) / sizeof(float));
    return l;
}

bool has_window(const attention_args &a, size_t length) noexcept {
    return length > 0 && a.window < length - 1;
}

// Queries that are taken together where there is a window: few enough for L2, many against the keys on both sides.
size_t window_block(size_t window) noexcept {
    constexpr size_t least = 256;
    return std::max(least, 2 * window);
}

// The most keys that are packed together.
size_t packed_keys(const attention_args &a, size_t longest) noexcept {
    return has_window(a, longest) ? std::min(longest, window_block(a.window) + 2 * a.window) : longest;
}

// The work of a head, as the floats from L2 that take as long: one for 16 multiply-adds.
double floats_of(size_t length, size_t head_size, size_t window) noexcept {
    const size_t seen = window < length / 2 ? 2 * window + 1 : length;
    return static_cast<double>(length) * static_cast<double>(seen + head_size) * static_cast<double>(head_size) / 8;
}

// A head is cut at multiples of this many queries: those that a kernel takes together.
size_t query_group(const attention_kernels &kernels, dtype type) noexcept {
    const attend_kernel *attend = kernels.attend(type);
    return attend ? attend->mr : kernels.gemm->mr;
}

struct row_range {
    size_t begin, end;
};

// The keys, of n, that some queries see; `queries` counts from the first key.
row_range keys_of(row_range queries, size_t window, size_t n) noexcept {
    return {queries.begin > window ? queries.begin - window : 0,
            window < n - std::min(n, queries.end) ? queries.end + window : n};
}

// m queries of one head in f32 and the n keys that they see, in rows of ld elements.
struct head_rows {
    float *q;
    const float *k, *v;
    size_t ld, m, n;
    const float *mask;  // of each key, or NULL
    const float *bias;  // that of query 0 and key 0, or NULL; see attention_args
    const position_terms *positions;
    bool masks_queries;
    size_t head;   // of `positions`
    size_t first;  // the token of query 0, counted from key 0
    size_t window;
};

// scores [m, n] += the bias of queries i0 on.
void add_bias(const float *bias, size_t i0, float *scores, size_t lds, size_t m, size_t n) noexcept {
    for (size_t i = 0; i < m; ++i) {
        const float *row = bias - (i0 + i);
        for (size_t j = 0; j < n; ++j) scores[i * lds + j] += row[j];
    }
}

// Makes weights of the scores [m, n] of queries whose first is token `first`, counted from the first key. Each row is
// a softmax of its own keys alone, so that its bits do not depend on the rows beside it; other weights are 0.
void weigh_window(const softmax_kernel &softmax, float *scores, size_t lds, size_t m, size_t n, size_t first,
                  size_t window, float scale) noexcept {
    for (size_t i = 0; i < m; ++i) {
        const row_range keys = keys_of({first + i, first + i + 1}, window, n);
        float *row = scores + i * lds;
        std::fill(row, row + keys.begin, 0.0f);
        softmax.run({.y = row + keys.begin, .m = 1, .n = keys.end - keys.begin, .ldy = lds, .scale = scale});
        std::fill(row + keys.end, row + n, 0.0f);
    }
}

// Adds the position terms of the queries of panel p to their scores. The first panel of a block multiplies the keys.
void add_terms(const gemm_kernel &gemm, const head_rows &h, size_t d, size_t p, size_t panels, float *scores,
               size_t lds, float *scratch) noexcept {
    const size_t together = position_queries / gemm.mr, block = p / together * together;
    const auto row = [&](size_t panel) { return h.m * std::min(panel, panels) / panels; };
    const position_block b = {.gemm = gemm,
                              .terms = *h.positions,
                              .q = h.q + row(block) * h.ld,
                              .k = h.k,
                              .ld = h.ld,
                              .head_size = d,
                              .head = h.head,
                              .first = h.first + row(block),
                              .m = row(block + together) - row(block),
                              .n = h.n,
                              .scratch = scratch};
    if (p == block) multiply_keys(b);
    add_positions(b, row(p) - row(block), row(p + 1) - row(p), scores, lds);
    for (size_t i = row(p); h.masks_queries && h.mask && i < row(p + 1); ++i)
        if (h.mask[h.first + i] != 0) std::fill_n(scores + (i - row(p)) * lds, h.n, 0.0f);
}

void attend_f32(const attention_kernels &kernels, const head_rows &h, size_t d, const layout &l,
                float *scratch) noexcept {
    const gemm_kernel &gemm = *kernels.gemm;
    const bool windowed = h.window < h.n;
    float *keys = scratch, *values = keys + l.keys, *scores = values + l.values;
    pack_columns(h.k, d, h.n, h.ld, gemm.nt, keys);
    pack_rows(h.v, h.n, d, h.ld, gemm.nt, values);
    const float scale = h.positions ? h.positions->scale : 1 / std::sqrt(static_cast<float>(d));
    const size_t panels = ceil_div(h.m, gemm.mr);
    for (size_t p = 0; p < panels; ++p) {
        // Panels of equal height, as in the linear layer.
        const size_t i0 = h.m * p / panels, height = h.m * (p + 1) / panels - i0, first = h.first + i0;
        float *rows = h.q + i0 * h.ld;
        const row_range seen = keys_of({first, first + height}, h.window, h.n);
        const size_t j0 = seen.begin / gemm.nt * gemm.nt, n = seen.end - j0;
        multiply_packed(gemm, rows, h.ld, keys + j0 * d, d * gemm.nt, h.mask ? h.mask + j0 : nullptr, scores, l.lds,
                        height, n, d);
        if (h.bias) add_bias(h.bias + j0, i0, scores, l.lds, height, n);
        if (h.positions) add_terms(gemm, h, d, p, panels, scores, l.lds, scores + l.scores);
        if (windowed)
            weigh_window(*kernels.softmax, scores, l.lds, height, n, first - j0, h.window, scale);
        else
            kernels.softmax->run({.y = scores, .m = height, .n = n, .ldy = l.lds, .scale = scale});
        multiply_packed(gemm, scores, l.lds, values + j0 * gemm.nt, h.n * gemm.nt, nullptr, rows, h.ld, height, d, n);
    }
}

// Runs some queries of a head in f32, with the keys that they see.
void attend_widely(const attention_kernels &kernels, const attention_args &a, const sequence &s, size_t head,
                   row_range queries, const layout &l, float *scratch) noexcept {
    const size_t d = a.head_size, at = s.first * a.ld + head * d;
    const float *bias = a.bias ? a.bias + head * (2 * a.bias_tokens - 1) + a.bias_tokens - 1 : nullptr;
    const size_t window = has_window(a, s.length) ? a.window : s.length;
    const row_range keys = keys_of(queries, window, s.length);
    const size_t q = at + queries.begin * a.ld, k = at + keys.begin * a.ld;
    head_rows h = {.q = nullptr,
                   .k = nullptr,
                   .v = nullptr,
                   .ld = a.ld,
                   .m = queries.end - queries.begin,
                   .n = keys.end - keys.begin,
                   .mask = s.mask ? s.mask + keys.begin : nullptr,
                   .bias = bias ? bias + keys.begin - queries.begin : nullptr,
                   .positions = a.positions,
                   .masks_queries = a.masks_queries,
                   .head = head,
                   .first = queries.begin - keys.begin,
                   .window = window};
    if (a.type == dtype::f32) {
        h.q = static_cast<float *>(a.q) + q;
        h.k = static_cast<const float *>(a.k) + k;
        h.v = static_cast<const float *>(a.v) + k;
        return attend_f32(kernels, h, d, l, scratch);
    }
    float *wide = scratch + l.total - 3 * l.wide;
    uint16_t *to = static_cast<uint16_t *>(a.q) + q;
    widen(to, a.ld, h.m, d, wide);
    widen(static_cast<const uint16_t *>(a.k) + k, a.ld, h.n, d, wide + l.wide);
    widen(static_cast<const uint16_t *>(a.v) + k, a.ld, h.n, d, wide + 2 * l.wide);
    h.q = wide;
    h.k = wide + l.wide;
    h.v = wide + 2 * l.wide;
    h.ld = d;
    attend_f32(kernels, h, d, l, scratch);
    kernels.round->run({.c = wide, .y = to, .residual = nullptr, .m = h.m, .n = d, .ldc = d, .ldy = a.ld, .ldr = 0});
}

void attend_head(const attention_kernels &kernels, const attention_args &a, const sequence &s, size_t head,
                 row_range queries, const layout &l, float *scratch) noexcept {
    const size_t d = a.head_size, at = s.first * a.ld + head * d;
    if (has_window(a, s.length)) {
        // Results replace queries, which no other block reads; keys and values stay.
        const size_t step = window_block(a.window);
        for (size_t i = queries.begin; i < queries.end; i += step)
            attend_widely(kernels, a, s, head, {i, std::min(queries.end, i + step)}, l, scratch);
        return;
    }
    const attend_kernel *attend = kernels.attend(a.type);
    if (!attend || a.bias || a.positions) return attend_widely(kernels, a, s, head, queries, l, scratch);
    const size_t size = size_of(a.type);
    char *q = static_cast<char *>(a.q) + (at + queries.begin * a.ld) * size;
    attend->run({.q = q,
                 .k = static_cast<const char *>(a.k) + at * size,
                 .v = static_cast<const char *>(a.v) + at * size,
                 .mask = s.mask,
                 .y = q,
                 .scratch = scratch,
                 .m = queries.end - queries.begin,
                 .n = s.length,
                 .d = d,
                 .ld = a.ld,
                 .scale = 1 / std::sqrt(static_cast<float>(d))});
}

// The cut of all heads into shares of equal work, at multiples of `group` queries of a head.
struct plan {
    size_t tasks, group;
    double work;
};

// The most heads, whole or in part, that one of `tasks` equal shares of n heads touches.
double most_heads(double n, size_t tasks) noexcept {
    constexpr double rounding = 1e-6;
    const double share = n / static_cast<double>(tasks);
    double most = 0;
    for (size_t t = 0; t < tasks; ++t) {
        const double begin = share * static_cast<double>(t);
        most = std::max(most, std::ceil(begin + share - rounding) - std::floor(begin + rounding));
    }
    return most;
}

plan make_plan(const ss1_context &context, const attention_kernels &kernels, const attention_args &a,
               size_t longest) noexcept {
    double work = 0;
    for (const sequence &s : a.sequences)
        work += static_cast<double>(a.heads) * floats_of(s.length, a.head_size, a.window);
    const size_t heads = a.sequences.size() * a.heads, group = query_group(kernels, a.type);
    const plan whole = {task_count(context, heads, work), longest, work},
               split = {task_count(context, heads * ceil_div(longest, group), work), group, work};
    // The unit of time is the longest head; all heads count as that long. Packing a head takes as long as 14 (f32) to
    // 26 queries (AMX) at d = 64. d / 2 stands for it here: a split that gains nothing is of no use.
    const double n = work / floats_of(longest, a.head_size, a.window), tokens = static_cast<double>(longest),
                 packing = static_cast<double>(a.head_size) / (2 * tokens + static_cast<double>(a.head_size));
    const double whole_time = std::ceil(n / static_cast<double>(whole.tasks)),
                 split_time =
                     (1 - packing) * n / static_cast<double>(split.tasks) + packing * most_heads(n, split.tasks);
    return split_time < whole_time ? split : whole;
}

// The query at which `fraction` of the work of a head is done, rounded to a multiple of `group` or to its end.
size_t cut_at(double fraction, size_t length, size_t group) noexcept {
    if (!(fraction > 0)) return 0;
    if (fraction >= 1) return length;
    const size_t groups = ceil_div(length, group);
    return std::min(length, static_cast<size_t>(fraction * static_cast<double>(groups) + 0.5) * group);
}

// Runs the share of a task. Heads of longer sequences are more work; a share is an interval of the work of all heads.
void attend_share(const attention_kernels &kernels, const attention_args &a, const plan &p, size_t task,
                  const layout &l, float *scratch) noexcept {
    const auto share = [&](size_t t) {
        return t == p.tasks ? HUGE_VAL : p.work * static_cast<double>(t) / static_cast<double>(p.tasks);
    };
    const double begin = share(task), end = share(task + 1);
    double at = 0;
    for (const sequence &s : a.sequences) {
        const double work = floats_of(s.length, a.head_size, a.window);
        for (size_t head = 0; head < a.heads; ++head, at += work) {
            const row_range queries = {cut_at((begin - at) / work, s.length, p.group),
                                       cut_at((end - at) / work, s.length, p.group)};
            if (queries.begin < queries.end) attend_head(kernels, a, s, head, queries, l, scratch);
        }
    }
}

}  // namespace

attention_kernels select_attention(isa::mask usable, size_t head_size) noexcept {
    const auto fused = [=](dtype type) {
        const attend_kernel &kernel = select_attend(type, head_size, usable);
        return kernel.needs == isa::none ? nullptr : &kernel;  // separate products are faster than the reference
    };
    return {&select_gemm(dtype::f32, SIZE_MAX, dtype::f32, usable), &softmax_kernels().select(usable),
            &select_store(dtype::bf16, usable), fused(dtype::f32), fused(dtype::bf16)};
}

size_t attention_scratch(const ss1_context &context, const attention_kernels &kernels, const position_terms *positions,
                         size_t batch, size_t tokens, size_t heads, size_t head_size) noexcept {
    const double work = static_cast<double>(batch * heads) * floats_of(tokens, head_size, SIZE_MAX);
    const size_t group = std::min(query_group(kernels, dtype::f32), query_group(kernels, dtype::bf16));
    const size_t parts = batch * heads * ceil_div(tokens, group);
    return task_count(context, parts, work) * make_layout(kernels, positions, tokens, head_size).total * sizeof(float);
}

void attend(const ss1_context &context, const attention_kernels &kernels, const attention_args &a) {
    size_t longest = 0;
    for (const sequence &s : a.sequences) longest = std::max(longest, s.length);
    const layout l = make_layout(kernels, a.positions, packed_keys(a, longest), a.head_size);
    const plan p = make_plan(context, kernels, a, longest);
    const attend_kernel *fused = kernels.attend(a.type);
    const kernel_scope *scope = fused ? fused->scope : nullptr;
    parallel(context, p.tasks, [&](size_t task) {
        const scope_guard guard(scope);
        attend_share(kernels, a, p, task, l, static_cast<float *>(a.scratch) + task * l.total);
    });
}

}  // namespace ss1
