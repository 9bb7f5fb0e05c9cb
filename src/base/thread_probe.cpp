// SPDX-License-Identifier: Apache-2.0
#include "base/thread_probe.hpp"

#include <pthread.h>

#include <memory>
#include <new>

namespace ss1 {
namespace {

void *wait_for_start(void *gate) {
    auto *const mutex = static_cast<pthread_mutex_t *>(gate);
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return nullptr;
}

}  // namespace

bool can_start_threads(size_t n) noexcept {
    const std::unique_ptr<pthread_t[]> threads(new (std::nothrow) pthread_t[n]);
    if (!threads) return false;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&gate);  // no thread ends before the last one has started
    size_t started = 0;
    while (started < n && pthread_create(&threads[started], nullptr, wait_for_start, &gate) == 0) ++started;
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < started; ++i) pthread_join(threads[i], nullptr);
    return started == n;
}

}  // namespace ss1
