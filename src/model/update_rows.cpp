// SPDX-License-Identifier: Apache-2.0
// Replaces rows of embedding tables while sessions run.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/status.hpp"
#include "io/table_rows.hpp"
#include "model/tables.hpp"

namespace ss1 {
namespace {

table_shape shape_of(const embedding_table &table) noexcept {
    return {table.args.rows, table.args.d, table.kernel->format};
}

ss1_status find_table(dlrm_tables &tables, const char *name, embedding_table *&out) {
    for (std::vector<embedding_table> *side : {&tables.items, &tables.users})
        for (embedding_table &table : *side)
            if (table.name == name) {
                out = &table;
                return SS1_OK;
            }
    return fail(SS1_ERROR_INVALID_ARGUMENT, "table '%s': the model has no table of this name", printable(name).c_str());
}

// Encodes each row once to see that it can be: nothing has been written when an error is found. `row` has room for one.
ss1_status check_rows(const embedding_table &table, std::span<const int64_t> rows, const float *values,
                      std::byte *row) {
    const table_shape shape = shape_of(table);
    for (size_t i = 0; i < rows.size(); ++i) {
        const std::span<const float> given(values + i * shape.d, shape.d);
        SS1_CHECK(static_cast<uint64_t>(rows[i]) < shape.rows, SS1_ERROR_INVALID_ARGUMENT,
                  "rows[%zu]=%lld: table '%s' has %zu rows", i, static_cast<long long>(rows[i]), table.name.c_str(),
                  shape.rows);
        const auto bad = std::ranges::find_if_not(given, [](float v) { return std::isfinite(v); });
        SS1_CHECK(bad == given.end(), SS1_ERROR_INVALID_ARGUMENT, "values[%zu,%zu]=%g is not finite", i,
                  static_cast<size_t>(bad - given.begin()), double{*bad});
        SS1_CHECK(encode_row(shape.format, given, row), SS1_ERROR_INVALID_ARGUMENT,
                  "values[%zu,:] do not fit the dtype %s of table '%s'", i, table_dtype_name(shape.format),
                  table.name.c_str());
    }
    return SS1_OK;
}

}  // namespace

ss1_status update_rows(dlrm_tables &tables, const char *name, std::span<const int64_t> rows, const float *values) {
    embedding_table *table = nullptr;
    SS1_TRY(find_table(tables, name, table));
    SS1_CHECK(!tables.robe.data(), SS1_ERROR_UNSUPPORTED,
              "table '%s' lies in a ROBE array, where other rows share its values", name);
    const table_shape shape = shape_of(*table);
    const size_t row_bytes = shape.row_bytes();
    constexpr size_t chunk_bytes = size_t{16} << 10;  // readers wait for some us
    const size_t step = std::max<size_t>(1, chunk_bytes / row_bytes);
    std::vector<std::byte> encoded(std::min(step, rows.size()) * row_bytes);
    SS1_TRY(check_rows(*table, rows, values, encoded.data()));
    if (table->mapping) SS1_TRY(table->mapping->make_writable(table->args.table, shape.rows * row_bytes));
    auto *const to = static_cast<std::byte *>(const_cast<void *>(table->args.table));
    for (size_t first = 0; first < rows.size(); first += step) {
        const size_t count = std::min(step, rows.size() - first);
        for (size_t i = 0; i < count; ++i)
            encode_row(shape.format, {values + (first + i) * shape.d, shape.d}, encoded.data() + i * row_bytes);
        const row_writer writer(tables.gate);
        const std::scoped_lock whole(fork_lock());  // a child gets whole rows
        for (size_t i = 0; i < count; ++i)
            std::memcpy(to + static_cast<size_t>(rows[first + i]) * row_bytes, encoded.data() + i * row_bytes,
                        row_bytes);
    }
    return SS1_OK;
}

}  // namespace ss1
