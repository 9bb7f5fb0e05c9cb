// SPDX-License-Identifier: Apache-2.0
// Finds out whether the system lets this process start threads.
#pragma once
#include <cstddef>

namespace ss1 {

// Whether n more threads can run at once in this process: starts that many, which end when all have started. Limits on
// processes (RLIMIT_NPROC, pids.max of a cgroup) and on memory, for stacks, are the usual reasons why not.
bool can_start_threads(size_t n) noexcept;

}  // namespace ss1
