// SPDX-License-Identifier: Apache-2.0
// Times contenders in turn, A B A B, in one process, so that a change of clock or load affects all of them.
#pragma once
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace ss1::apps {

struct sampling {
    size_t samples = 30;   // least samples of each contender
    double seconds = 0.2;  // least seconds of all samples together
    // A sample repeats a short call for about this time, because clocks have a resolution of 20-50 ns. 0: every sample
    // is one call.
    double sample_ns = 0;
    // Before each sample: a pause in which the threads of the sample before fall asleep, then calls for at least
    // warm_ns. 0: none.
    double pause_ns = 0, warm_ns = 0;
    double most_seconds = 1e9;  // after this time 5 samples are enough
};

// For short calls, such as those of small layers. Weights of 1.2 MB that other contenders drove out of a 2 MB L2 need
// five to ten calls to settle there again: a call takes 50 us before and 15 us after.
constexpr sampling layer_sampling = {30, 0.2, 50e3, 0, 200e3, 10};

struct timing {
    double first_ns;         // time of the very first call
    std::vector<double> ns;  // time of one call in each round
};

std::vector<double> sorted(std::vector<double> values);

// Warms each contender up, then measures. Sample i of every contender belongs to round i.
std::vector<timing> interleave(std::span<const std::function<void()>> contenders, const sampling &rule);

}  // namespace ss1::apps
