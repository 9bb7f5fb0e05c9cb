// SPDX-License-Identifier: Apache-2.0
// What memory gives at best for rows at random places: their lines asked for ahead, loaded and added up in registers.
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

// Reads every byte of the rows, with as many threads as `threads`; the sum is worth nothing but that the loads happen.
uint64_t gather_rows(const row_gather &rows, uint32_t threads);

}  // namespace ss1::bench
