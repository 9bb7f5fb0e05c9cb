// SPDX-License-Identifier: Apache-2.0
// Embedding bags of the caller's tables: the arguments of ss1_bags_create() and ss1_bags_run(), checked for NULL.
#pragma once
#include <span>
#include <vector>

#include "op/embedding.hpp"

struct ss1_bags {
    ss1::context_ref context;
    size_t d = 0;
    std::vector<ss1::embedding_table> tables;
};

namespace ss1 {

ss1_status bags_create(ss1_context &context, size_t d, std::span<const ss1_table> tables, ss1_bags &out);
ss1_status bags_run(const ss1_bags &bags, const ss1_bags_args &args);

}  // namespace ss1
