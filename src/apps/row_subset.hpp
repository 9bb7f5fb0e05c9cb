// SPDX-License-Identifier: Apache-2.0
// Splits the rows of a file in two parts: every n-th row, which is held out, and the others.
#pragma once
#include <cstddef>

namespace ss1::apps {

struct row_subset {
    size_t every = 0;       // 0: all rows
    bool held_out = false;  // the rows every - 1, 2 * every - 1, ... (counted from 0), else the others

    bool takes(size_t row) const { return every == 0 || (row % every == every - 1) == held_out; }
};

}  // namespace ss1::apps
