// SPDX-License-Identifier: Apache-2.0
#include "layers.hpp"

#include "ranges.hpp"

namespace ss1::cli {
namespace {

constexpr const char *what_works = "measure --dtype f32";

}  // namespace

std::vector<compression> parse_compressions(const std::string &c, const std::string &scheme) {
    const std::vector<std::string> schemes = parse_names("--scheme", scheme);
    for (const std::string &name : schemes) parse_scheme(name);
    std::vector<compression> list;
    for (const size_t value : parse_ranges("-c", c, max_size))
        for (const std::string &name : schemes)
            if (value > 1 || name == schemes.front()) list.push_back({static_cast<uint32_t>(value), name});
    return list;
}

size_t resolve_layer(ss1_linear_desc &desc, const compression &wanted, const std::string &dtype) {
    constexpr size_t block_k = 64;
    desc.c = wanted.c * block_k > desc.K ? 1 : wanted.c;
    desc.scheme = parse_scheme(wanted.scheme);
    size_t stored_columns = 0;
    const ss1_status status = ss1_linear_resolve(&desc, &stored_columns);
    if (status == SS1_ERROR_UNSUPPORTED)
        throw failure("--dtype " + dtype + ": this version of the library lacks it: " + ss1_last_error(), what_works);
    check(status);
    return stored_columns;
}

layer_handle create_layer(const context_handle &context, const ss1_linear_desc &desc,
                          const ss1_linear_weights &weights) {
    ss1_layer *layer = nullptr;
    const ss1_status status = ss1_layer_create(context.get(), &desc, &weights, &layer);
    if (status == SS1_ERROR_UNSUPPORTED)
        throw failure(std::string("this version of the library lacks this layer: ") + ss1_last_error(), what_works);
    check(status);
    return layer_handle(layer);
}

}  // namespace ss1::cli
