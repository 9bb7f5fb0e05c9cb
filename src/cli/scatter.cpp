// SPDX-License-Identifier: Apache-2.0
#include "cli/scatter.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/format.hpp"

namespace ss1::cli {

using apps::format;

namespace {

constexpr double width = 860, height = 520, left = 90, right = 190, top = 50, bottom = 70;
// These differ in lightness, too, and stand out from white and from black.
constexpr std::array<const char *, 5> colours = {"#888888", "#0072b2", "#d55e00", "#009e73", "#cc79a7"};

std::string escaped(const std::string &text) {
    std::string result;
    for (const char c : text)
        result += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : std::string(1, c);
    return result;
}

// A logarithmic axis over whole decades.
struct axis {
    double least, most;  // powers of ten
    double from, to;     // pixels

    axis(const std::vector<double> &values, double first, double last) : least(0), most(1), from(first), to(last) {
        if (values.empty()) return;
        const auto [low, high] = std::ranges::minmax(values);
        least = std::floor(std::log10(low));
        most = std::max(std::ceil(std::log10(high)), least + 1);
    }
    double at(double value) const {
        const double share = value > 0 ? (std::log10(value) - least) / (most - least) : 0;
        return from + std::clamp(share, 0.0, 1.0) * (to - from);
    }
    std::vector<double> decades() const {
        std::vector<double> values;
        for (double power = least; power <= most; ++power) values.push_back(std::pow(10, power));
        return values;
    }
};

std::string text_at(double x, double y, const char *anchor, const std::string &text, const char *more = "") {
    return format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more) + escaped(text) +
           "</text>\n";
}

std::string grid(const scatter &what, const axis &x, const axis &y) {
    std::string svg;
    for (const double value : x.decades())
        svg += format("<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>\n", x.at(value), y.from, y.to) +
               text_at(x.at(value), y.from + 20, "middle", format("%g", value));
    for (const double value : y.decades())
        svg += format("<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", x.from, y.at(value), x.to) +
               text_at(x.from - 8, y.at(value) + 4, "end", format("%g", value));
    svg += text_at((x.from + x.to) / 2, height - 20, "middle", what.x_label);
    const double middle = (y.from + y.to) / 2;
    return svg +
           text_at(20, middle, "middle", what.y_label, format(" transform=\"rotate(-90 20 %.1f)\"", middle).c_str());
}

std::string legend(const scatter &what) {
    std::string svg;
    double y = top + 10;
    const double x = width - right + 25;
    for (size_t i = 0; i < what.series.size(); ++i, y += 22)
        svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y - 4, colours[i]) +
               text_at(x + 14, y, "start", what.series[i]);
    return svg + format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" class=\"mark\"/>\n", x, y - 4) +
           text_at(x + 14, y, "start", what.mark);
}

}  // namespace

std::string to_svg(const scatter &what) {
    std::vector<double> xs, ys;
    for (const scatter_point &point : what.points) {
        xs.push_back(point.x);
        if (point.y > 0) ys.push_back(point.y);
    }
    const axis x(xs, left, width - right), y(ys, height - bottom, top);
    std::string svg = format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" "
        "font-size=\"13\">\n",
        width, height);
    svg +=
        "<style>text{fill:#222}.grid{stroke:#8886;fill:none}.mark{stroke:#222;stroke-width:1.5;fill:none}"
        ".ground{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.mark{stroke:#eee}.ground{fill:#111}}"
        "</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n";
    svg += text_at(left, 28, "start", what.title, " font-size=\"16\"");
    svg += grid(what, x, y) + legend(what);
    for (const scatter_point &point : what.points) {
        const double px = x.at(point.x), py = y.at(point.y);
        svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"><title>", px, py, colours[point.series]) +
               escaped(point.title) + "</title></circle>\n";
        if (point.marked) svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" class=\"mark\"/>\n", px, py);
    }
    return svg + "</svg>\n";
}

}  // namespace ss1::cli
