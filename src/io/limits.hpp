// SPDX-License-Identifier: Apache-2.0
// The limits of a config.json; README.md lists them.
#pragma once
#include <cstddef>

namespace ss1 {

inline constexpr size_t max_width = size_t{1} << 31;  // of a matrix
inline constexpr size_t max_rows = size_t{1} << 40;   // of an embedding table
inline constexpr size_t max_embedding_dim = 65536;
inline constexpr size_t max_robe_size = size_t{1} << 40;  // floats
inline constexpr size_t max_layers = 1000;
inline constexpr size_t max_tables = 100'000;
inline constexpr size_t max_features = 100'000;

}  // namespace ss1
