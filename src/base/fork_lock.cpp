// SPDX-License-Identifier: Apache-2.0
#include "base/fork_lock.hpp"

#include <pthread.h>

#include <atomic>

namespace ss1 {
namespace {

constinit std::mutex mutex;
constinit std::atomic<uint32_t> generation{0};

void finish_in_child() {
    generation.fetch_add(1, std::memory_order_relaxed);  // the child has one thread
    mutex.unlock();
}

[[maybe_unused]] const int fork_handlers =
    pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, finish_in_child);

}  // namespace

std::mutex &fork_lock() noexcept {
    return mutex;
}

uint32_t fork_generation() noexcept {
    return generation.load(std::memory_order_relaxed);
}

}  // namespace ss1
