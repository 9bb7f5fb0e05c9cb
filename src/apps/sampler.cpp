// SPDX-License-Identifier: Apache-2.0
#include "apps/sampler.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace ss1::apps {

namespace {

using clock = std::chrono::steady_clock;

double ns_since(clock::time_point start) {
    return std::chrono::duration<double, std::nano>(clock::now() - start).count();
}

double time_call(const std::function<void()> &call, size_t repeats) {
    const auto start = clock::now();
    for (size_t i = 0; i < repeats; ++i) call();
    return ns_since(start) / static_cast<double>(repeats);
}

// Calls until caches, page tables, thread pool and clock have settled, at most 20 ms. Returns the ns of the fastest
// call.
double warm_up(const std::function<void()> &call) {
    const auto start = clock::now();
    double fastest = time_call(call, 1);
    for (int i = 0; i < 1000 && ns_since(start) < 20e6; ++i) fastest = std::min(fastest, time_call(call, 1));
    return fastest;
}

void prepare(const std::function<void()> &call, const sampling &rule) {
    if (rule.pause_ns > 0) std::this_thread::sleep_for(std::chrono::duration<double, std::nano>(rule.pause_ns));
    if (rule.warm_ns <= 0) return;
    const auto start = clock::now();
    do call();
    while (ns_since(start) < rule.warm_ns);
}

}  // namespace

std::vector<double> sorted(std::vector<double> values) {
    std::ranges::sort(values);
    return values;
}

std::vector<timing> interleave(std::span<const std::function<void()>> contenders, const sampling &rule) {
    std::vector<timing> timings(contenders.size());
    std::vector<size_t> repeats(contenders.size(), 1);
    for (size_t i = 0; i < contenders.size(); ++i) {
        timings[i].first_ns = time_call(contenders[i], 1);
        const double fastest = warm_up(contenders[i]);
        if (fastest < rule.sample_ns) repeats[i] = static_cast<size_t>(rule.sample_ns / std::max(fastest, 1.0)) + 1;
    }
    constexpr size_t enough = 5;
    const auto start = clock::now();
    for (size_t round = 0; round < rule.samples || ns_since(start) < rule.seconds * 1e9; ++round) {
        if (round >= enough && ns_since(start) > rule.most_seconds * 1e9) break;
        for (size_t i = 0; i < contenders.size(); ++i) {
            prepare(contenders[i], rule);
            timings[i].ns.push_back(time_call(contenders[i], repeats[i]));
        }
    }
    return timings;
}

}  // namespace ss1::apps
