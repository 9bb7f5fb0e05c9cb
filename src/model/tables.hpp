// SPDX-License-Identifier: Apache-2.0
// The embedding tables of a DLRM, loaded from its directory: in memory, mapped, or as one ROBE array.
#pragma once
#include <vector>

#include "io/file.hpp"
#include "io/model_directory.hpp"
#include "op/embedding.hpp"

namespace ss1 {

struct dlrm_tables {
    std::vector<embedding_table> items, users;  // by the side of the model they are on
    buffer robe;                                // the array of a ROBE model, its first block repeated behind it
    std::vector<file_mapping> mappings;         // by file of the directory, if tables are mapped
    mutable row_gate gate;                      // between runs and update_rows()
    size_t bytes = 0;                           // that they take, mapped or not
    size_t parameters = 0;
};

ss1_status load_tables(const ss1_context &context, const model_directory &from, dlrm_tables &out);

// Replaces all of the rows or none; runs of other threads see each row old or new.
ss1_status update_rows(dlrm_tables &tables, const ss1_update_rows_args &args);

}  // namespace ss1
