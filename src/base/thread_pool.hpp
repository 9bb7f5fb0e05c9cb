// SPDX-License-Identifier: Apache-2.0
// The threads of a context: the default executor. A thread that waits spins for a fraction of a millisecond and then
// sleeps, so that it takes no time from other programs.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ss1 {

// The calling thread takes part, so that a pool of n threads starts n - 1, in the first region. A region that another
// thread's region or a region around it leaves no threads runs on its caller. The child of a fork() starts threads of
// its own. Where the system refuses to start threads, those that there are do all tasks.
class thread_pool {
  public:
    explicit thread_pool(uint32_t threads);
    thread_pool(const thread_pool &) = delete;
    thread_pool &operator=(const thread_pool &) = delete;
    ~thread_pool();

    // Runs task(arg, i) once for each i in [0, n). Never fails. Safe from any thread.
    void run(size_t n, void (*task)(void *, size_t), void *arg) noexcept;
    // Whether the system refused to start threads that the last region wanted.
    bool lacks_threads() const noexcept { return untried_.load(std::memory_order_relaxed) > 0; }

  private:
    // Tasks i, i + threads, i + 2 * threads ... belong to thread i. It takes them from the last to the first; threads
    // that wait take what others were late for. So each thread works on the same part of a layer in every run, and has
    // its weights in its cache.
    struct alignas(64) queue {
        std::atomic<uint32_t> left{0};
        std::atomic<bool> asleep{false};
        // From its start to its first sleep a thread's first task is left to it: its stack and its part of the heap
        // exist once it has worked, so that later runs call the system for no memory.
        std::atomic<bool> is_new{false};
        thread_pool *pool = nullptr;
        pthread_t thread{};
    };

    void start() noexcept;
    void forget_lost_threads() noexcept;
    void work(size_t self) noexcept;
    void sleep(size_t self) noexcept;
    uint32_t take_from(size_t owner) noexcept;
    uint32_t take_from_all(size_t first) noexcept;
    void wake(size_t n) noexcept;
    void finish(uint32_t tasks) noexcept;
    void wait() noexcept;

    std::vector<queue> queues_;         // [0] is that of the caller
    uint32_t started_ = 0;              // threads that exist: queues 1 to started_
    std::atomic<uint32_t> untried_{0};  // regions until refused threads are tried again
    std::atomic<uint32_t> generation_{0};
    std::atomic<bool> busy_{false}, stop_{false};

    // The region. Whoever has taken a task may read task_ and arg_: the region cannot end before.
    alignas(64) std::atomic<void (*)(void *, size_t)> task_{nullptr};
    std::atomic<void *> arg_{nullptr};
    alignas(64) std::atomic<uint32_t> unfinished_{0};  // tasks; the caller sleeps on it
    std::atomic<bool> caller_sleeps_{false};
    alignas(64) std::atomic<uint32_t> calls_{0};  // sleeping threads wait for it to change
    std::atomic<uint32_t> sleepers_{0};
};

}  // namespace ss1
