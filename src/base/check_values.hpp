// SPDX-License-Identifier: Apache-2.0
// Names the first bad value of a run's inputs. The CUDA plugin compiles it too: its messages are the same.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/status.hpp"

namespace ss1 {

// Checks that every value of [rows, columns] is in [0, limit); NULL is fine.
inline ss1_status check_ids(const char *name, const int64_t *ids, size_t rows, size_t columns, size_t limit) {
    for (size_t i = 0; ids && i < rows * columns; ++i)
        SS1_CHECK(static_cast<uint64_t>(ids[i]) < limit, SS1_ERROR_INVALID_ARGUMENT,
                  "%s[%zu,%zu]=%lld is not in 0..%zu", name, i / columns, i % columns, static_cast<long long>(ids[i]),
                  limit - 1);
    return SS1_OK;
}

// The table of bags, as messages name it.
struct table_of_bags {
    size_t number, rows;
    const char *name;
};

// Bag (t, b) is indices[offsets[t*batch + b] .. the next offset), the last one ends at `total`.
struct bags_to_check {
    const int64_t *indices, *offsets;
    size_t tables, batch, total;
    const char *prefix;  // of "indices" and "offsets"

    int64_t end_of(size_t i) const noexcept {
        return i + 1 < tables * batch ? offsets[i + 1] : static_cast<int64_t>(total);
    }
};

// Fails with SS1_ERROR_INVALID_ARGUMENT and names the first bad offset or, if there is none, the first bad index of all
// rows. `table(t)` gives table_of_bags.
template <class F>
ss1_status name_bad_bag(const bags_to_check &bags, F &&table) {
    const size_t n = bags.tables * bags.batch;
    for (size_t i = 0; i < n; ++i) {
        const table_of_bags of = table(i / bags.batch);
        const long long offset = bags.offsets[i], before = i ? bags.offsets[i - 1] : 0;
        SS1_CHECK(i || offset == 0, SS1_ERROR_INVALID_ARGUMENT, "%soffsets[0,0]=%lld (table %zu '%s') is not 0",
                  bags.prefix, offset, of.number, of.name);
        SS1_CHECK(offset >= before, SS1_ERROR_INVALID_ARGUMENT,
                  "%soffsets[%zu,%zu]=%lld (table %zu '%s') is below the offset before it, %lld", bags.prefix,
                  i / bags.batch, i % bags.batch, offset, of.number, of.name, before);
        SS1_CHECK(offset <= static_cast<int64_t>(bags.total), SS1_ERROR_INVALID_ARGUMENT,
                  "%soffsets[%zu,%zu]=%lld (table %zu '%s') is above the number of indices, %zu", bags.prefix,
                  i / bags.batch, i % bags.batch, offset, of.number, of.name, bags.total);
    }
    for (size_t i = 0; i < n; ++i) {
        const table_of_bags of = table(i / bags.batch);
        for (int64_t p = bags.offsets[i]; p < bags.end_of(i); ++p)
            SS1_CHECK(static_cast<uint64_t>(bags.indices[p]) < of.rows, SS1_ERROR_INVALID_ARGUMENT,
                      "%sindices[%lld]=%lld is not a row of table %zu '%s' (row %zu of the batch), which has %zu rows",
                      bags.prefix, static_cast<long long>(p), static_cast<long long>(bags.indices[p]), of.number,
                      of.name, i % bags.batch, of.rows);
    }
    return fail(SS1_ERROR_INVALID_ARGUMENT, "%soffsets or indices were changed during the run", bags.prefix);
}

}  // namespace ss1
