// SPDX-License-Identifier: Apache-2.0
#include "driver/layers.hpp"

#include "apps/failure.hpp"
#include "cli/options.hpp"
#include "cli/ranges.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

std::vector<compression> parse_compressions(const std::string &c, const std::string &scheme) {
    const std::vector<std::string> schemes = parse_names("--scheme", scheme);
    for (const std::string &name : schemes) parse_scheme(name);
    std::vector<compression> list;
    for (const size_t value : parse_ranges("-c", c, max_size))
        for (const std::string &name : schemes)
            if (value > 1 || name == schemes.front()) list.push_back({static_cast<uint32_t>(value), name});
    return list;
}

std::vector<compression> parse_ranks(const std::string &ranks, const std::string &scheme) {
    std::vector<compression> list;
    if (ranks.empty()) return list;
    for (const std::string &item : parse_names("--rank", ranks)) {
        const size_t plus = item.find('+');
        const std::string rank = plus == item.npos ? item : item.substr(plus + 1);
        for (const size_t r : parse_ranges("--rank", rank, max_size)) {
            if (plus == item.npos) list.push_back({0, "low rank", r});
            for (compression beside :
                 plus == item.npos ? std::vector<compression>() : parse_compressions(item.substr(0, plus), scheme)) {
                beside.rank = r;
                list.push_back(beside);
            }
        }
    }
    return list;
}

size_t resolve_layer(ss1_linear_desc &desc, const compression &wanted) {
    constexpr size_t block_k = 64;
    desc.c = wanted.c * block_k > desc.K ? 1 : wanted.c;
    desc.scheme = wanted.c ? parse_scheme(wanted.scheme) : SS1_SCHEME_DEFAULT;
    desc.rank = wanted.rank;
    size_t stored_columns = 0;
    check(ss1_linear_resolve(&desc, &stored_columns));
    return stored_columns;
}

layer_handle create_layer(const context_handle &context, const ss1_linear_desc &desc,
                          const ss1_linear_weights &weights) {
    ss1_layer *layer = nullptr;
    check(ss1_layer_create(context.get(), &desc, &weights, &layer));
    return layer_handle(layer);
}

}  // namespace ss1::bench
