// SPDX-License-Identifier: Apache-2.0
// Times contenders against each other: in turn, A B A B, in one process, so that a change of clock or load hits them
// alike.
#pragma once
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ss1::bench {

struct sampling {
    size_t samples = 30;   // of each contender, at least
    double seconds = 0.2;  // of measuring in all, at least
    // A sample repeats a shorter call until about this long: clocks have a grain of 20-50 ns. 0: every sample is one
    // call.
    double sample_ns = 0;
    // Before each sample: a pause for the threads of the one before to fall asleep, then calls for at least so
    // long. 0: none.
    double pause_ns = 0, warm_ns = 0;
    double most_seconds = 1e9;  // beyond which 5 samples are enough
};

// For calls as short as a small layer's. Weights of 1.2 MB, driven out of a 2 MB L2 by the contenders before, take five
// to ten calls to settle there again: 15 us a call then, 50 until then.
constexpr sampling layer_sampling = {30, 0.2, 50e3, 0, 200e3, 10};

// --repetitions and --min-time: the least `samples_of_each`, the least seconds `for_what`.
void add_sampling(CLI::App &command, sampling &rule, const std::string &samples_of_each, const std::string &for_what);
// --max-time, behind them.
void add_most_time(CLI::App &command, sampling &rule);

struct timing {
    double first_ns;         // of the very first call
    std::vector<double> ns;  // of one call each, by round
};

std::vector<double> sorted(std::vector<double> values);

// Warms each contender up, then measures. Sample i of every contender is of the same round.
std::vector<timing> interleave(std::span<const std::function<void()>> contenders, const sampling &rule);

}  // namespace ss1::bench
