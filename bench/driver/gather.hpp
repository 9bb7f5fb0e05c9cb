// SPDX-License-Identifier: Apache-2.0
// The highest rate of memory for rows at random places: a loop that prefetches their lines, loads them and adds them up
// in registers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ss1::bench {

struct row_gather {
    const unsigned char *table;
    size_t row_bytes;
    const int64_t *indices;
    size_t count;
};

// Reads every byte of the rows on `threads` threads. The sum only keeps the compiler from removing the loads.
uint64_t gather_rows(const row_gather &rows, uint32_t threads);

}  // namespace ss1::bench
