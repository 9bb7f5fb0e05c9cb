// SPDX-License-Identifier: Apache-2.0
// Where each input of an output block meets the stored columns: the tying matrix A_j as a list.
#pragma once
#include <cstddef>
#include <span>

#include "mapping/mapping.hpp"

namespace ss1 {

// The stored column and the sign of input k in one output block; column = npos if no stored weight multiplies it.
struct place {
    size_t column;
    float sign;
};
inline constexpr size_t npos = static_cast<size_t>(-1);

// Lists the K places of output block j by the definition, W[i*B_K + t, n] = s Z[n, g*B_K + (t - r) mod B_K], in one
// loop.
void list_places(const mapping &map, size_t j, std::span<place> places) noexcept;

}  // namespace ss1
