// SPDX-License-Identifier: Apache-2.0
#include "apps/json.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "apps/format.hpp"

namespace ss1::apps {

double rounded(double value, int decimals) {
    const double scale = std::pow(10.0, decimals);
    return std::round(value * scale) / scale;
}

double six_digits(double value) {
    return std::strtod(format("%.6g", value).c_str(), nullptr);
}

json machine_info(const ss1_info &info) {
#if defined(__clang__)
    const std::string compiler = std::string("clang ") + __clang_version__;
#else
    const std::string compiler = std::string("gcc ") + __VERSION__;
#endif
    return {{"cpu", info.cpu}, {"compiler", compiler}, {"ss1", ss1_version()}};
}

std::string to_line(const json &value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

bool is_finite(const json &value) {
    if (value.is_number_float()) return std::isfinite(value.get<double>());
    return !value.is_structured() ||
           std::all_of(value.begin(), value.end(), [](const auto &part) { return is_finite(part); });
}

}  // namespace ss1::apps
