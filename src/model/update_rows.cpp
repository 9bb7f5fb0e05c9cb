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

constexpr size_t chunk_bytes = size_t{16} << 10;  // of rows copied at once: lookups wait for some us

ss1_status find_table(dlrm_tables &tables, const char *name, embedding_table *&out) {
    for (std::vector<embedding_table> *side : {&tables.items, &tables.users})
        for (embedding_table &table : *side)
            if (table.name == name) {
                out = &table;
                return SS1_OK;
            }
    return fail(SS1_ERROR_INVALID_ARGUMENT, "args.table='%s': the model has no table of this name",
                printable(name).c_str());
}

ss1_status check_args(const dlrm_tables &tables, const embedding_table &table, const ss1_update_rows_args &args) {
    SS1_CHECK(!tables.robe.data(), SS1_ERROR_UNSUPPORTED,
              "args.table='%s': the table lies in a ROBE array, where rows share values", args.table);
    SS1_CHECK(args.d == table.args.d, SS1_ERROR_INVALID_ARGUMENT, "args.d=%zu: table '%s' has rows of %zu values",
              args.d, args.table, table.args.d);
    SS1_CHECK(args.ldv == 0 || args.ldv >= args.d, SS1_ERROR_INVALID_ARGUMENT, "args.ldv=%zu is below d = %zu",
              args.ldv, args.d);
    SS1_CHECK(args.rows || args.n == 0, SS1_ERROR_INVALID_ARGUMENT, "args.rows is NULL");
    SS1_CHECK(args.values || args.n == 0, SS1_ERROR_INVALID_ARGUMENT, "args.values is NULL");
    SS1_CHECK(reinterpret_cast<uintptr_t>(args.rows) % alignof(int64_t) == 0, SS1_ERROR_INVALID_ARGUMENT,
              "args.rows=%p is not aligned to %zu bytes", static_cast<const void *>(args.rows), alignof(int64_t));
    SS1_CHECK(reinterpret_cast<uintptr_t>(args.values) % alignof(float) == 0, SS1_ERROR_INVALID_ARGUMENT,
              "args.values=%p is not aligned to %zu bytes", static_cast<const void *>(args.values), alignof(float));
    return SS1_OK;
}

// Encoded rows, and their places in the table.
struct row_chunk {
    std::vector<std::byte> encoded;
    std::vector<std::byte *> places;
};

// Encodes row i of the caller as row `at` of the chunk. Checks it each time: the caller's memory may change meanwhile.
ss1_status encode(const embedding_table &table, const ss1_update_rows_args &args, size_t i, size_t at, row_chunk &out) {
    const size_t d = args.d, bytes = row_bytes(table.kernel->format, d);
    const int64_t row = args.rows[i];
    const std::span<const float> given(args.values + i * (args.ldv ? args.ldv : d), d);
    SS1_CHECK(static_cast<uint64_t>(row) < table.args.rows, SS1_ERROR_INVALID_ARGUMENT,
              "args.rows[%zu]=%lld: table '%s' has %zu rows", i, static_cast<long long>(row), args.table,
              table.args.rows);
    const auto bad = std::ranges::find_if_not(given, [](float v) { return std::isfinite(v); });
    SS1_CHECK(bad == given.end(), SS1_ERROR_INVALID_ARGUMENT, "args.values[%zu,%zu]=%g is not finite", i,
              static_cast<size_t>(bad - given.begin()), double{*bad});
    SS1_CHECK(encode_row(table.kernel->format, given, out.encoded.data() + at * bytes), SS1_ERROR_INVALID_ARGUMENT,
              "args.values[%zu,:] do not fit the dtype %s of table '%s'", i, table_dtype_name(table.kernel->format),
              args.table);
    out.places[at] = static_cast<std::byte *>(const_cast<void *>(table.args.table)) + static_cast<size_t>(row) * bytes;
    return SS1_OK;
}

// Reads a byte of each page of the rows: what must come from the disk comes before the gate closes.
void read_pages(const row_chunk &chunk, size_t count, size_t bytes) noexcept {
    constexpr size_t least_page = 4096;
    for (size_t i = 0; i < count; ++i) {
        const volatile std::byte *const row = chunk.places[i];
        for (size_t at = 0; at < bytes; at += least_page) (void)row[at];
        (void)row[bytes - 1];
    }
}

}  // namespace

ss1_status update_rows(dlrm_tables &tables, const ss1_update_rows_args &args) {
    SS1_CHECK(args.table, SS1_ERROR_INVALID_ARGUMENT, "args.table is NULL");
    embedding_table *table = nullptr;
    SS1_TRY(find_table(tables, args.table, table));
    SS1_TRY(check_args(tables, *table, args));
    const size_t bytes = row_bytes(table->kernel->format, args.d), step = std::max<size_t>(1, chunk_bytes / bytes);
    row_chunk chunk;
    chunk.encoded.resize(std::min(step, args.n) * bytes);
    chunk.places.resize(std::min(step, args.n));
    for (size_t i = 0; i < args.n; ++i) SS1_TRY(encode(*table, args, i, 0, chunk));  // nothing is written yet
    if (table->mapping) SS1_TRY(table->mapping->make_writable(args.table, table->args.table, table->args.rows * bytes));
    for (size_t first = 0; first < args.n; first += step) {
        const size_t count = std::min(step, args.n - first);
        for (size_t i = 0; i < count; ++i) SS1_TRY(encode(*table, args, first + i, i, chunk));
        if (table->mapping) read_pages(chunk, count, bytes);
        // A child of fork() gets whole rows. The lock comes before the gate, where lookups would wait for it.
        const std::scoped_lock whole(fork_lock());
        const row_writer writer(tables.gate);
        for (size_t i = 0; i < count; ++i) std::memcpy(chunk.places[i], chunk.encoded.data() + i * bytes, bytes);
    }
    return SS1_OK;
}

}  // namespace ss1
