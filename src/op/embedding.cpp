// SPDX-License-Identifier: Apache-2.0
#include "op/embedding.hpp"

#include "op/split.hpp"

namespace ss1 {
namespace {

// One past the last index of bag i, counted over all tables.
int64_t bag_end(const bag_batch &bags, size_t i) noexcept {
    return i + 1 < bags.tables.size() * bags.batch ? bags.offsets[i + 1] : static_cast<int64_t>(bags.total);
}

// Bags of one task's step: where tasks share the tables, small enough that many tables of unlike bag lengths spread
// evenly over them, and so many rows that it hardly matters that a step starts with rows nobody asked for ahead.
size_t bags_of_block(const bag_batch &bags, size_t tasks) noexcept {
    constexpr size_t rows_of_block = 1024;
    const size_t n = bags.tables.size() * bags.batch, rows_of_bag = bags.total / n + 1;
    return tasks == 1 ? bags.batch : std::min({bags.batch, rows_of_block / rows_of_bag + 16, n / tasks});
}

}  // namespace

bool sum_block(const bag_batch &bags, size_t t, size_t b0, size_t b1) noexcept {
    const embedding_table &table = bags.tables[t];
    bag_args args = table.args;
    args.indices = bags.indices;
    args.weights = bags.weights;
    args.offsets = bags.offsets + t * bags.batch + b0;
    args.end = bag_end(bags, t * bags.batch + b1 - 1);
    args.y = bags.y + b0 * bags.ldy + t * bags.d;
    args.batch = b1 - b0;
    args.ldy = bags.ldy;
    args.checked = bags.checked;
    if (bags.checked && (args.end < 0 || args.end > static_cast<int64_t>(bags.total))) return false;
    return table.kernel->run(args);
}

// Finds the first fault again, in order, so that the message is the same for any thread count.
ss1_status report_bags(const bag_batch &bags) {
    const size_t batch = bags.batch, n = bags.tables.size() * batch;
    for (size_t i = 0; i < n; ++i) {
        const char *table = bags.tables[i / batch].name.c_str();
        const long long offset = bags.offsets[i], before = i ? bags.offsets[i - 1] : 0;
        SS1_CHECK(i || offset == 0, SS1_ERROR_INVALID_ARGUMENT, "offsets[0,0]=%lld (table 0 '%s') is not 0", offset,
                  table);
        SS1_CHECK(offset >= before, SS1_ERROR_INVALID_ARGUMENT,
                  "offsets[%zu,%zu]=%lld (table %zu '%s') is below the offset before it, %lld", i / batch, i % batch,
                  offset, i / batch, table, before);
        SS1_CHECK(offset <= static_cast<int64_t>(bags.total), SS1_ERROR_INVALID_ARGUMENT,
                  "offsets[%zu,%zu]=%lld (table %zu '%s') is above the number of indices, %zu", i / batch, i % batch,
                  offset, i / batch, table, bags.total);
    }
    for (size_t i = 0; i < n; ++i) {
        const embedding_table &table = bags.tables[i / batch];
        for (int64_t p = bags.offsets[i]; p < bag_end(bags, i); ++p)
            SS1_CHECK(static_cast<uint64_t>(bags.indices[p]) < table.args.rows, SS1_ERROR_INVALID_ARGUMENT,
                      "indices[%lld]=%lld is not a row of table %zu '%s' (row %zu of the batch), which has %zu rows",
                      static_cast<long long>(p), static_cast<long long>(bags.indices[p]), i / batch, table.name.c_str(),
                      i % batch, table.args.rows);
    }
    return fail(SS1_ERROR_INVALID_ARGUMENT, "offsets or indices were changed during the run");
}

ss1_status sum_bags(const ss1_context &context, const bag_batch &bags) {
    if (bags.offsets[0] != 0) return report_bags(bags);
    const double floats = static_cast<double>(bags.total) * static_cast<double>(bags.d);
    const size_t tasks = task_count(context, bags.tables.size() * bags.batch, floats);
    const size_t step = bags_of_block(bags, tasks);
    const size_t blocks = (bags.batch + step - 1) / step, n = bags.tables.size() * blocks;
    std::atomic<bool> valid{true};
    parallel(context, tasks, [&](size_t task) {
        for (size_t i = task; i < n; i += tasks) {
            const size_t t = i / blocks, b0 = i % blocks * step, b1 = std::min(bags.batch, b0 + step);
            if (!sum_block(bags, t, b0, b1)) valid.store(false, std::memory_order_relaxed);
        }
    });
    return valid.load(std::memory_order_relaxed) ? SS1_OK : report_bags(bags);
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
