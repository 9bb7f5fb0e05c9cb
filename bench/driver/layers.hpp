// SPDX-License-Identifier: Apache-2.0
// Makes the layers that -c and --scheme ask for.
#pragma once
#include <string>
#include <vector>

#include "apps/handles.hpp"

namespace ss1::bench {

constexpr size_t max_size = size_t{1} << 24;  // limit of m, K, N and c

struct compression {
    uint32_t c;
    std::string scheme;
};

// Lists all combinations of -c and --scheme; dense layers have no scheme and occur once.
std::vector<compression> parse_compressions(const std::string &c, const std::string &scheme);

// Sets c and the scheme of `desc` and resolves it; its other fields must be set. If c times B_K is above K, no tied
// layer exists, and the layer becomes dense. Returns the stored columns.
size_t resolve_layer(ss1_linear_desc &desc, const compression &wanted);

apps::layer_handle create_layer(const apps::context_handle &context, const ss1_linear_desc &desc,
                                const ss1_linear_weights &weights);

}  // namespace ss1::bench
