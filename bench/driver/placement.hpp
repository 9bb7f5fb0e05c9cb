// SPDX-License-Identifier: Apache-2.0
// Keeps the thread pools of several libraries in one process from disturbing each other's measurement.
#pragma once
#include <sched.h>

#include <nlohmann/json.hpp>

namespace ss1::bench {

// Restarts this process once with the settings that libraries read when they are loaded: idle threads leave their core
// within a millisecond, and OpenBLAS knows the CPU. Keeps the settings of the caller.
void restart_with_pool_settings();

// The values of those settings, for the report.
nlohmann::ordered_json pool_settings();

// With one thread, keeps the calling thread on one core while this object lives. More threads are not pinned: a
// library's new threads would inherit the one core and share it.
class pinned {
  public:
    explicit pinned(size_t threads);
    ~pinned();
    pinned(const pinned &) = delete;
    pinned &operator=(const pinned &) = delete;

  private:
    bool on_;
    cpu_set_t before_;
};

}  // namespace ss1::bench
