// SPDX-License-Identifier: Apache-2.0
#include "op/embedding.hpp"

#include <algorithm>
#include <atomic>

#include "base/check_values.hpp"
#include "base/round.hpp"

namespace ss1 {
namespace {

// Returns the end of the indices of bag i; bags are counted over all tables.
int64_t bag_end(const bag_batch &bags, size_t i) noexcept {
    return i + 1 < bags.tables.size() * bags.batch ? bags.offsets[i + 1] : static_cast<int64_t>(bags.total);
}

// Returns the bags of one work item: few enough to balance tables of different bag lengths among the tasks, many enough
// that the first rows of an item, which nobody prefetched, do not matter.
size_t bags_of_block(const bag_batch &bags, size_t rows, size_t tasks) noexcept {
    constexpr size_t rows_of_block = 1024;
    const size_t rows_of_bag = bags.total / (bags.tables.size() * bags.batch) + 1;
    return tasks == 1 ? rows : std::min({rows, rows_of_block / rows_of_bag + 16, bags.tables.size() * rows / tasks});
}

// Sums bags [b0, b1) of table t. Returns false if one is bad.
bool sum_block(const bag_batch &bags, size_t t, size_t b0, size_t b1, float *y, size_t ldy) noexcept {
    const embedding_table &table = bags.tables[t];
    bag_args args = table.args;
    args.indices = bags.indices;
    args.weights = bags.weights;
    args.offsets = bags.offsets + t * bags.batch + b0;
    args.end = bag_end(bags, t * bags.batch + b1 - 1);
    args.y = y + table.number * bags.d;
    args.batch = b1 - b0;
    args.ldy = ldy;
    args.checked = bags.checked;
    if (bags.checked && (args.end < 0 || args.end > static_cast<int64_t>(bags.total))) return false;
    return table.kernel->run(args);
}

// Returns the position of token i of the batch. RoBERTa's is counted for each token: at most 512 comparisons, beside a
// row of floats.
size_t position_of(const token_batch &batch, size_t i) noexcept {
    const size_t t = i % batch.tokens;
    if (batch.padding < 0) return t;
    const int64_t *ids = batch.ids + (i - t);
    const auto padding = static_cast<size_t>(batch.padding);
    if (ids[t] == batch.padding) return padding;
    return padding + 1 + t - static_cast<size_t>(std::count(ids, ids + t, batch.padding));
}

}  // namespace

ss1_status find_bad_bag(const bag_batch &bags) {
    return name_bad_bag({.indices = bags.indices,
                         .offsets = bags.offsets,
                         .tables = bags.tables.size(),
                         .batch = bags.batch,
                         .total = bags.total,
                         .prefix = bags.prefix},
                        [&](size_t t) {
                            const embedding_table &table = bags.tables[t];
                            return table_of_bags{table.number, table.args.rows, table.name.c_str()};
                        });
}

bool sum_bags(const team &who, const bag_batch &bags, size_t b0, size_t b1, float *y, size_t ldy) {
    const size_t rows = b1 - b0, n_tables = bags.tables.size();
    const bool starts_at_0 = bags.offsets[0] == 0;
    if (!who.is_whole()) {  // table by table: a block of a DLRM's rows may take a few us
        const row_reader reader(bags.gate);
        bool valid = starts_at_0;
        for (size_t t = 0; t < n_tables; ++t) valid &= sum_block(bags, t, b0, b1, y, ldy);
        return valid;
    }
    const float_mode mode;  // the plan must not raise the caller's traps
    const double share = static_cast<double>(rows) / static_cast<double>(bags.batch);
    const double floats = share * static_cast<double>(bags.total) * static_cast<double>(bags.d);
    const size_t tasks = task_count(who, n_tables * rows, floats);
    const size_t step = bags_of_block(bags, rows, tasks);
    const size_t blocks = ceil_div(rows, step), n = n_tables * blocks;
    std::atomic<bool> valid{starts_at_0};
    parallel(who, tasks, [&](size_t task) {
        for (size_t i = task; i < n; i += tasks) {
            const size_t t = i / blocks, b = b0 + i % blocks * step, end = std::min(b1, b + step);
            const row_reader reader(bags.gate);
            if (!sum_block(bags, t, b, end, y + (b - b0) * ldy, ldy)) valid.store(false, std::memory_order_relaxed);
        }
    });
    return valid.load(std::memory_order_relaxed);
}

void embed_tokens(const team &who, const norm_kernel &kernel, const token_batch &batch, const norm_args &norm) {
    const size_t n = norm.n, tokens = batch.tokens;
    parallel_ranges(who, norm.m, 4 * n, [&](size_t begin, size_t end) {
        for_rows(batch.sequences, begin, end, [&](size_t s, size_t t, size_t to) {
            const size_t i = s * tokens + t;
            const float *word = batch.word + static_cast<size_t>(batch.ids[i]) * n;
            float *y = norm.y + to * n;
            if (batch.type) {
                const float *type = batch.type + (batch.types ? static_cast<size_t>(batch.types[i]) * n : 0);
                for (size_t j = 0; j < n; ++j) y[j] = word[j] + type[j];
            }
            // The kernel adds the position as its residual.
            norm_args row = norm;
            row.x = batch.type ? y : word;
            row.y = y;
            row.r = batch.position ? batch.position + position_of(batch, i) * n : nullptr;
            row.m = 1;
            kernel.run(row);
        });
    });
}

}  // namespace ss1
