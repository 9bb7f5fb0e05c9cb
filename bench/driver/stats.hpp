// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>

namespace ss1::bench {

// Interpolates linearly between the two nearest samples, as numpy does by default. `sorted` must not be empty;
// 0 <= fraction <= 1.
double percentile(std::span<const double> sorted, double fraction);
double mean(std::span<const double> samples);

}  // namespace ss1::bench
