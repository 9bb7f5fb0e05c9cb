// SPDX-License-Identifier: Apache-2.0
#include "base/fork_lock.hpp"

#include <pthread.h>

namespace ss1 {
namespace {

constinit std::mutex mutex;

[[maybe_unused]] const int fork_handlers =
    pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });

}  // namespace

std::mutex &fork_lock() noexcept {
    return mutex;
}

}  // namespace ss1
