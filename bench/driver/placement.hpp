// SPDX-License-Identifier: Apache-2.0
// What keeps thread pools of several libraries in one process from disturbing each other's measurement.
#pragma once
#include <sched.h>

#include <nlohmann/json.hpp>

namespace ss1::bench {

// Starts this process anew, once, with the settings that libraries read when they are loaded: threads give their core
// up within a millisecond, and OpenBLAS knows the CPU. What the caller has set stays.
void restart_with_pool_settings();

// Those settings as they are, for the record.
nlohmann::ordered_json pool_settings();

// Keeps the calling thread on one core while this object lives, if it is all that measures: pools of threads must not,
// as a library's new threads would inherit the one core and share it.
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
