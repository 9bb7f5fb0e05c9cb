// SPDX-License-Identifier: Apache-2.0
#include "cli/table.hpp"

#include <algorithm>

namespace ss1::cli {

bool is_number_like(const std::string &cell) {
    return !cell.empty() && (cell[0] == '-' || (cell[0] >= '0' && cell[0] <= '9'));
}

std::string pad(const std::string &cell, size_t width) {
    const std::string blanks(width - std::min(width, cell.size()), ' ');
    return is_number_like(cell) ? blanks + cell : cell + blanks;
}

std::string format_table(const std::vector<table_row> &rows) {
    std::vector<size_t> widths(rows.front().size());
    for (const table_row &row : rows)
        for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    std::string text;
    for (const table_row &row : rows) {
        std::string line;
        for (size_t i = 0; i < row.size(); ++i) {
            // Titles above numbers are aligned to the right, too.
            const bool right = &row == &rows.front() && rows.size() > 1 && is_number_like(rows[1][i]);
            const std::string blanks(right ? widths[i] - row[i].size() : 0, ' ');
            line += blanks + pad(row[i], widths[i] - blanks.size()) + "  ";
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

}  // namespace ss1::cli
