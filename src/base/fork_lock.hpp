// SPDX-License-Identifier: Apache-2.0
// The library's only lock. fork() takes it first and both processes release it, so no child finds it taken by a thread
// that the child lacks. A guard of a function's static variable is a lock that fork() cannot take: those that need code
// are initialised when the library is loaded (tests/static_guards.sh).
#pragma once
#include <cstdint>
#include <mutex>

namespace ss1 {

// For short work that calls neither the caller's functions nor anything that takes this lock.
std::mutex &fork_lock() noexcept;

// The number of forks between this process and the one that loaded the library: a child lacks its parent's other
// threads, so that what they counted does not hold there.
uint32_t fork_generation() noexcept;

}  // namespace ss1
