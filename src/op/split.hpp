// SPDX-License-Identifier: Apache-2.0
// How operators are cut into tasks, and who runs them. One task computes each row in one way, so that the row's bits do
// not depend on the cut.
#pragma once
#include <algorithm>

#include "base/context.hpp"

namespace ss1 {

struct layer_observer;

// Who runs an operator: all threads of a context, or the calling thread alone, as one task of several. An observer sees
// what the layers read; it needs all threads.
class team {
  public:
    team(const ss1_context &all, const layer_observer *observer = nullptr) noexcept
        : context_(&all), threads_(all.num_threads), observer_(observer) {}
    static team this_thread(const ss1_context &context) noexcept {
        team one(context);
        one.threads_ = 0;
        return one;
    }

    const ss1_context &context() const noexcept { return *context_; }
    bool is_whole() const noexcept { return threads_ != 0; }
    size_t threads() const noexcept { return std::max<size_t>(threads_, 1); }
    const layer_observer *observer() const noexcept { return observer_; }

  private:
    const ss1_context *context_;
    size_t threads_;
    const layer_observer *observer_;
};

// Runs f(i) for i in [0, n). A task that runs on this thread has set the floating-point mode already.
template <class F>
void parallel(const team &who, size_t n, F &&f) {
    if (who.is_whole()) return parallel(who.context(), n, f);
    for (size_t i = 0; i < n; ++i) f(i);
}

// Tasks for work that takes `ns` ns on one thread, at most. Threads that sleep join 5 to 50 us late: shorter
// runs stay on the calling thread.
inline size_t most_tasks(const ss1_context &context, uint64_t ns) noexcept {
    constexpr uint64_t worth_a_team = 8000, worth_a_task = 1000;  // ns
    return ns < worth_a_team ? 1 : std::clamp<uint64_t>(ns / worth_a_task, 1, context.num_threads);
}

// A region of threads that are awake costs 1 to 3 us: a task should bring that much, and 16384 floats read from L2 are
// about 4 us.
inline constexpr double min_floats_per_task = 16384;

// Tasks for `parts` equal parts that read `floats` floats together. Grows with both.
inline size_t task_count(const team &who, size_t parts, double floats) noexcept {
    const size_t most = std::min<size_t>(parts, who.threads());
    const double wanted = floats / min_floats_per_task;
    return wanted <= 1                          ? 1
           : wanted < static_cast<double>(most) ? static_cast<size_t>(wanted)
                                                : std::max<size_t>(most, 1);
}

// Rows are cut in groups that tile kernels read together, where each part runs through several operators.
inline constexpr size_t row_group = 16;
inline constexpr size_t row_panel = 32;  // the tallest of the CPU's gemm kernels

// Rows of the longest of n parts into which m rows are cut.
inline size_t longest_part(size_t m, size_t n) noexcept {
    return m ? ((m - 1) / row_group / n + 1) * row_group : 0;
}

inline size_t part_begin(size_t m, size_t n, size_t i) noexcept {
    return std::min(m, (m + row_group - 1) / row_group * i / n * row_group);
}

// Runs f(begin, end) over ranges that together are [0, n); one item reads about `floats_each` floats.
template <class F>
void parallel_ranges(const team &who, size_t n, size_t floats_each, F &&f) {
    if (n == 0) return;
    const size_t tasks = task_count(who, n, static_cast<double>(n) * static_cast<double>(floats_each));
    parallel(who, tasks, [&](size_t task) { f(n * task / tasks, n * (task + 1) / tasks); });
}

}  // namespace ss1
