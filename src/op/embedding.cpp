// SPDX-License-Identifier: Apache-2.0
#include "op/embedding.hpp"

#include "op/split.hpp"

namespace ss1 {
namespace {

// Bags of one task's step: small enough that many tables of unlike bag lengths spread evenly over the tasks.
constexpr size_t block = 64;

// One past the last index of bag i, counted over all tables.
int64_t bag_end(const bag_batch &bags, size_t i) noexcept {
    return i + 1 < bags.tables.size() * bags.batch ? bags.offsets[i + 1] : static_cast<int64_t>(bags.total);
}

bool is_row(int64_t index, const embedding_table &table) noexcept {
    return static_cast<uint64_t>(index) < table.rows;
}

// Offsets and indices of the bags [b0, b1) of table t. That the offsets ascend within [0, total] over all bags follows
// from every bag alone.
bool is_valid(const bag_batch &bags, size_t t, size_t b0, size_t b1) noexcept {
    const int64_t *offsets = bags.offsets + t * bags.batch;
    for (size_t b = b0; b < b1; ++b) {
        const int64_t end = bag_end(bags, t * bags.batch + b);
        if (offsets[b] < 0 || end < offsets[b] || end > static_cast<int64_t>(bags.total)) return false;
    }
    bool valid = true;
    const int64_t end = bag_end(bags, t * bags.batch + b1 - 1);
    for (int64_t p = offsets[b0]; p < end; ++p) valid &= is_row(bags.indices[p], bags.tables[t]);
    return valid;
}

// The kernel wants the end of the last bag behind its begin: true for all but the very last bag, which runs alone.
void sum_block(const bag_kernel &kernel, const bag_batch &bags, size_t t, size_t b0, size_t b1, float *y,
               size_t ldy) noexcept {
    const bool has_last = t + 1 == bags.tables.size() && b1 == bags.batch;
    bag_args args;
    args.table = bags.tables[t].weights.as<float>();
    args.indices = bags.indices;
    args.offsets = bags.offsets + t * bags.batch + b0;
    args.y = y + bags.tables[t].number * bags.d;
    args.batch = b1 - b0 - has_last;
    args.d = bags.d;
    args.ldy = ldy;
    if (args.batch) kernel.run(args);
    if (!has_last) return;
    const int64_t ends[2] = {args.offsets[args.batch], static_cast<int64_t>(bags.total)};
    args.y += args.batch * ldy;
    args.offsets = ends;
    args.batch = 1;
    kernel.run(args);
}

bool sum_checked(const bag_kernel &kernel, const bag_batch &bags, size_t t, size_t b0, size_t b1, float *y,
                 size_t ldy) noexcept {
    if (!is_valid(bags, t, b0, b1)) return false;
    sum_block(kernel, bags, t, b0, b1, y, ldy);
    return true;
}

}  // namespace

ss1_status find_bad_bag(const bag_batch &bags) {
    const size_t batch = bags.batch, n = bags.tables.size() * batch;
    for (size_t i = 0; i < n; ++i) {
        const size_t number = bags.tables[i / batch].number;
        const char *table = bags.tables[i / batch].name.c_str();
        const long long offset = bags.offsets[i], before = i ? bags.offsets[i - 1] : 0;
        SS1_CHECK(i || offset == 0, SS1_ERROR_INVALID_ARGUMENT, "%soffsets[0,0]=%lld (table %zu '%s') is not 0",
                  bags.prefix, offset, number, table);
        SS1_CHECK(offset >= before, SS1_ERROR_INVALID_ARGUMENT,
                  "%soffsets[%zu,%zu]=%lld (table %zu '%s') is below the offset before it, %lld", bags.prefix,
                  i / batch, i % batch, offset, number, table, before);
        SS1_CHECK(offset <= static_cast<int64_t>(bags.total), SS1_ERROR_INVALID_ARGUMENT,
                  "%soffsets[%zu,%zu]=%lld (table %zu '%s') is above the number of indices, %zu", bags.prefix,
                  i / batch, i % batch, offset, number, table, bags.total);
    }
    for (size_t i = 0; i < n; ++i) {
        const embedding_table &table = bags.tables[i / batch];
        for (int64_t p = bags.offsets[i]; p < bag_end(bags, i); ++p)
            SS1_CHECK(is_row(bags.indices[p], table), SS1_ERROR_INVALID_ARGUMENT,
                      "%sindices[%lld]=%lld is not a row of table %zu '%s' (row %zu of the batch), which has %zu rows",
                      bags.prefix, static_cast<long long>(p), static_cast<long long>(bags.indices[p]), table.number,
                      table.name.c_str(), i % batch, table.rows);
    }
    return fail(SS1_ERROR_INVALID_ARGUMENT, "%soffsets or indices were changed during the run", bags.prefix);
}

bool sum_bags_here(const bag_kernel &kernel, const bag_batch &bags, size_t b0, size_t b1, float *y,
                   size_t ldy) noexcept {
    bool valid = bags.offsets[0] == 0;
    for (size_t t = 0; t < bags.tables.size(); ++t)
        for (size_t b = b0; b < b1; b += block)
            valid &= sum_checked(kernel, bags, t, b, std::min(b1, b + block), y + (b - b0) * ldy, ldy);
    return valid;
}

bool sum_bags(const ss1_context &context, const bag_kernel &kernel, const bag_batch &bags, size_t b0, size_t b1,
              float *y, size_t ldy) {
    const size_t blocks = (b1 - b0 + block - 1) / block, n = bags.tables.size() * blocks;
    const double share = static_cast<double>(b1 - b0) / static_cast<double>(bags.batch);
    const size_t tasks = task_count(context, n, share * static_cast<double>(bags.total) * static_cast<double>(bags.d));
    std::atomic<bool> valid{bags.offsets[0] == 0};
    parallel(context, tasks, [&](size_t task) {
        for (size_t i = task; i < n; i += tasks) {
            const size_t t = i / blocks, b = b0 + i % blocks * block, end = std::min(b1, b + block);
            if (!sum_checked(kernel, bags, t, b, end, y + (b - b0) * ldy, ldy))
                valid.store(false, std::memory_order_relaxed);
        }
    });
    return valid.load(std::memory_order_relaxed);
}

void embed_tokens(const ss1_context &context, const norm_kernel &kernel, const token_batch &batch,
                  const norm_args &norm) {
    const size_t n = norm.n, tokens = batch.tokens;
    parallel_ranges(context, batch.batch * tokens, 4 * n, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
            const float *word = batch.word + static_cast<size_t>(batch.ids[i]) * n;
            const float *type = batch.type + (batch.types ? static_cast<size_t>(batch.types[i]) * n : 0);
            float *y = norm.y + i * n;
            for (size_t j = 0; j < n; ++j) y[j] = word[j] + type[j];
            // The positions come as the kernel's residual.
            norm_args row = norm;
            row.x = row.y = y;
            row.r = batch.position + i % tokens * n;
            row.m = 1;
            kernel.run(row);
        }
    });
}

}  // namespace ss1
