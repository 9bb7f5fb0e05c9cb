// SPDX-License-Identifier: Apache-2.0
#include "mapping/places.hpp"

#include <algorithm>

namespace ss1 {

void list_places(const mapping &map, size_t j, std::span<place> places) noexcept {
    const size_t bk = map.desc.block_k, c = map.desc.c;
    if (c == 0) {
        std::fill(places.begin(), places.end(), place{npos, 1.0f});
        return;
    }
    for (size_t k = 0; k < map.desc.K; ++k) {
        const size_t i = k / bk, t = k % bk, g = i / c, q = i % c;
        const sketch_entry e = map.entry(j, g, q);
        const size_t column = c == 1 ? k : g * bk + (t + bk - e.rotation) % bk;
        places[k] = {column < map.live_columns ? column : npos, e.negative ? -1.0f : 1.0f};
    }
}

}  // namespace ss1
