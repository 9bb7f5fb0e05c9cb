// SPDX-License-Identifier: Apache-2.0
// Makes the layers that -c and --scheme ask for.
#pragma once
#include <string>
#include <vector>

#include "apps/handles.hpp"

namespace ss1::bench {

constexpr size_t max_size = size_t{1} << 24;  // limit of m, K, N and c

struct compression {
    uint32_t c;  // 0: no tied part
    std::string scheme;
    size_t rank = 0;
};

// Lists all combinations of -c and --scheme; dense layers have no scheme and occur once.
std::vector<compression> parse_compressions(const std::string &c, const std::string &scheme);

// Lists the layers with a part of low rank that --rank asks for: "152" is that part alone, "8+76" has rank 76 beside a
// tied part with c = 8, in each scheme.
std::vector<compression> parse_ranks(const std::string &ranks, const std::string &scheme);

// Sets c, the scheme and the rank of `desc` and resolves it; its other fields must be set. If c times B_K is above K,
// no tied layer exists, and the layer becomes dense. Returns the stored columns.
size_t resolve_layer(ss1_linear_desc &desc, const compression &wanted);

apps::layer_handle create_layer(const apps::context_handle &context, const ss1_linear_desc &desc,
                                const ss1_linear_weights &weights);

}  // namespace ss1::bench
