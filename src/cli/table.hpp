// SPDX-License-Identifier: Apache-2.0
// Formats tables that people read.
#pragma once
#include <string>
#include <vector>

namespace ss1::cli {

// Returns whether the cell starts like a number; pad() aligns such cells to the right.
bool is_number_like(const std::string &cell);
std::string pad(const std::string &cell, size_t width);

using table_row = std::vector<std::string>;

// The first row holds the titles; columns are as wide as their widest cell, with two spaces between them.
std::string format_table(const std::vector<table_row> &rows);

}  // namespace ss1::cli
