// SPDX-License-Identifier: Apache-2.0
// The layers that benchmarks make, by -c and --scheme.
#pragma once
#include <string>
#include <vector>

#include "apps/handles.hpp"

namespace ss1::bench {

constexpr size_t max_size = size_t{1} << 24;  // of m, K, N, c

struct compression {
    uint32_t c;
    std::string scheme;
};

// All combinations of -c and --scheme; dense layers have no scheme and occur once.
std::vector<compression> parse_compressions(const std::string &c, const std::string &scheme);

// For `desc`, whose other fields are set. Where c times B_K is above K there is no tied layer: the dense one takes its
// place. Returns the stored columns.
size_t resolve_layer(ss1_linear_desc &desc, const compression &wanted);

apps::layer_handle create_layer(const apps::context_handle &context, const ss1_linear_desc &desc,
                                const ss1_linear_weights &weights);

}  // namespace ss1::bench
