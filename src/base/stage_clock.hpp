// SPDX-License-Identifier: Apache-2.0
// Measures the time of each stage of a run.
#pragma once
#include <chrono>
#include <numeric>

namespace ss1 {

// Adds the time since the last lap to a stage. A lap takes 25 ns, or one comparison if `seconds` is NULL.
class stage_clock {
  public:
    explicit stage_clock(double *seconds) noexcept : seconds_(seconds) { restart(); }
    // Drops the time since the last lap.
    void restart() noexcept {
        if (seconds_) last_ = std::chrono::steady_clock::now();
    }
    template <class Stage>
    void lap(Stage stage) noexcept {
        if (!seconds_) return;
        const auto now = std::chrono::steady_clock::now();
        seconds_[static_cast<size_t>(stage)] += std::chrono::duration<double>(now - last_).count();
        last_ = now;
    }

  private:
    double *seconds_;
    std::chrono::steady_clock::time_point last_;
};

// The slowest task determines the time of the run, so its stages are added.
inline void add_slowest(const double *task_seconds, size_t tasks, size_t n_stages, double *stage_seconds) noexcept {
    const double *slowest = task_seconds;
    const auto total = [n_stages](const double *seconds) { return std::accumulate(seconds, seconds + n_stages, 0.0); };
    for (size_t task = 1; task < tasks; ++task)
        if (total(task_seconds + task * n_stages) > total(slowest)) slowest = task_seconds + task * n_stages;
    for (size_t i = 0; i < n_stages; ++i) stage_seconds[i] += slowest[i];
}

}  // namespace ss1
