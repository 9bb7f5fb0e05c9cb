// SPDX-License-Identifier: Apache-2.0
// Draws points in a plane of two logarithmic axes as SVG, readable on light and dark ground.
#pragma once
#include <string>
#include <vector>

namespace ss1::cli {

struct scatter_point {
    double x, y;
    size_t series;      // index into scatter::series
    bool marked;        // gets a ring
    std::string title;  // shown when the pointer rests on it
};

struct scatter {
    std::string title, x_label, y_label;  // with units
    std::vector<std::string> series;      // at most 5, for the legend
    std::string mark;                     // what a ring means
    std::vector<scatter_point> points;    // x > 0; y <= 0 is drawn on the lowest line
};

std::string to_svg(const scatter &what);

}  // namespace ss1::cli
