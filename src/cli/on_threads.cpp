// SPDX-License-Identifier: Apache-2.0
#include "cli/on_threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace ss1::cli {

void on_threads(size_t threads, size_t n, const std::function<void(size_t, size_t)> &each,
                const std::function<void(size_t)> &work) {
    std::atomic<size_t> next = 0, done = 0;
    std::atomic<bool> stopped = false;
    std::exception_ptr failed;
    std::mutex mutex;
    const auto fail = [&] {
        const std::lock_guard lock(mutex);
        if (!failed) failed = std::current_exception();
        next = n;
        stopped = true;
    };
    {
        std::vector<std::jthread> workers;
        for (size_t i = 0; i < std::min(threads, n); ++i)
            workers.emplace_back([&] {
                for (size_t item; (item = next++) < n; ++done) try {
                        work(item);
                    } catch (...) {
                        fail();
                    }
            });
        while (done < n && !stopped) try {
                each(done, n);
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
            } catch (...) {
                fail();
                break;
            }
    }
    if (failed) std::rethrow_exception(failed);
}

}  // namespace ss1::cli
