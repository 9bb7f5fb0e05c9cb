// SPDX-License-Identifier: Apache-2.0
#include "op/bags.hpp"

#include "base/span.hpp"

namespace ss1 {
namespace {

ss1_status check_table(const ss1_table &table, size_t i, row_format format, size_t d) {
    SS1_CHECK(table.name, SS1_ERROR_INVALID_ARGUMENT, "tables[%zu].name is NULL", i);
    SS1_CHECK(table.dtype >= SS1_TABLE_DEFAULT && table.dtype <= SS1_TABLE_INT4, SS1_ERROR_INVALID_ARGUMENT,
              "tables[%zu].dtype=%d is not a value of ss1_table_dtype", i, static_cast<int>(table.dtype));
    SS1_CHECK(table.pooling == SS1_POOLING_SUM || table.pooling == SS1_POOLING_MEAN, SS1_ERROR_INVALID_ARGUMENT,
              "tables[%zu].pooling=%d is not a value of ss1_pooling", i, static_cast<int>(table.pooling));
    SS1_CHECK(table.rows >= 1 && table.rows <= PTRDIFF_MAX / row_bytes(format, d), SS1_ERROR_INVALID_ARGUMENT,
              "tables[%zu].rows=%zu is 0 or too many for memory", i, table.rows);
    SS1_CHECK(table.data, SS1_ERROR_INVALID_ARGUMENT, "tables[%zu].data is NULL", i);
    const size_t alignment = format == row_format::f32 ? 4 : format <= row_format::f16 ? 2 : 1;
    SS1_CHECK(reinterpret_cast<uintptr_t>(table.data) % alignment == 0, SS1_ERROR_INVALID_ARGUMENT,
              "tables[%zu].data=%p is not a multiple of %zu", i, table.data, alignment);
    return SS1_OK;
}

}  // namespace

ss1_status bags_create(ss1_context &context, size_t d, std::span<const ss1_table> tables, ss1_bags &out) {
    out.context = context_ref(&context);
    out.d = d;
    for (size_t i = 0; i < tables.size(); ++i) {
        const ss1_table &given = tables[i];
        const row_format format = given.dtype ? static_cast<row_format>(given.dtype) : row_format::f32;
        SS1_TRY(check_table(given, i, format, d));
        embedding_table &table = out.tables.emplace_back();
        table.name = given.name;
        table.number = i;
        table.kernel = &select_bag(format, context.usable);
        table.args.table = given.data;
        table.args.rows = given.rows;
        table.args.d = d;
        table.args.mean = given.pooling == SS1_POOLING_MEAN;
    }
    return SS1_OK;
}

ss1_status bags_run(const ss1_bags &bags, const ss1_bags_args &args) {
    const size_t columns = bags.tables.size() * bags.d, ldy = args.ldy ? args.ldy : columns;
    if (args.batch == 0) return SS1_OK;
    SS1_CHECK(args.offsets, SS1_ERROR_INVALID_ARGUMENT, "args.offsets is NULL");
    SS1_CHECK(args.indices || args.total == 0, SS1_ERROR_INVALID_ARGUMENT, "args.indices is NULL but total=%zu",
              args.total);
    SS1_CHECK(args.y, SS1_ERROR_INVALID_ARGUMENT, "args.y is NULL");
    SS1_CHECK(ldy >= columns, SS1_ERROR_INVALID_ARGUMENT, "args.ldy=%zu is below tables * d = %zu", ldy, columns);
    memory_span y{}, offsets{}, indices{}, weights{};
    SS1_TRY(matrix_span("args.y", args.y, args.batch, columns, ldy, y));
    const size_t n = bags.tables.size();
    SS1_TRY(matrix_span("args.offsets", args.offsets, n, args.batch, args.batch, offsets, sizeof(int64_t)));
    SS1_TRY(check_apart("args.y", y, "args.offsets", offsets));
    if (args.total) {
        SS1_TRY(matrix_span("args.indices", args.indices, 1, args.total, args.total, indices, sizeof(int64_t)));
        SS1_TRY(check_apart("args.y", y, "args.indices", indices));
    }
    if (args.total && args.weights) {
        SS1_TRY(matrix_span("args.weights", args.weights, 1, args.total, args.total, weights));
        SS1_TRY(check_apart("args.y", y, "args.weights", weights));
    }
    const bag_batch batch = {.tables = bags.tables,
                             .indices = args.indices,
                             .offsets = args.offsets,
                             .weights = args.weights,
                             .total = args.total,
                             .batch = args.batch,
                             .d = bags.d,
                             .prefix = "",
                             .checked = args.unchecked == 0};
    return sum_bags(*bags.context, batch, 0, args.batch, args.y, ldy) ? SS1_OK : find_bad_bag(batch);
}

}  // namespace ss1
