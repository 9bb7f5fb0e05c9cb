// SPDX-License-Identifier: Apache-2.0
// Which candidate each group of layers gets within a budget of time.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace ss1::cli {

struct time_and_error {
    double us;  // infinite: never chosen
    double error;
};

// Chooses one candidate of each group so that the sum of the errors is small and the sum of the times is at most
// `most_us`. Starts with the fastest of each and takes the steps along the lower convex hulls of the groups by the
// error that they save for a microsecond; what then is left goes to the candidates that save most and fit.
// @return the index of each group's candidate, or, if the fastest do not fit, those.
std::vector<size_t> choose(std::span<const std::vector<time_and_error>> groups, double most_us);

// The sum of the times of the fastest candidates.
double least_us(std::span<const std::vector<time_and_error>> groups);

}  // namespace ss1::cli
