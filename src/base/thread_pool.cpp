// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.hpp"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>

#include "base/fork_lock.hpp"

namespace ss1 {
namespace {

using steady = std::chrono::steady_clock;
using std::chrono::microseconds;

// The next region of a run follows after some microseconds. A thread that spins longer takes time from others, and one
// that sleeps needs 5 to 50 us to wake.
constexpr microseconds worker_patience{200}, caller_patience{50};
constexpr unsigned pauses_per_look = 32;    // 1 to 2 us
constexpr uint32_t regions_per_try = 1000;  // until threads that were refused are tried again

void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");  // as long as x86's pause; yield takes one cycle
#endif
}

long futex(std::atomic<uint32_t> &word, int operation, uint32_t value) noexcept {
    static_assert(sizeof word == 4 && std::atomic<uint32_t>::is_always_lock_free);
    return syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

void run_serially(size_t n, void (*task)(void *, size_t), void *arg) noexcept {
    for (size_t i = 0; i < n; ++i) task(arg, i);
}

}  // namespace

thread_pool::thread_pool(uint32_t threads) : queues_(threads), generation_(fork_generation()) {
    for (queue &q : queues_) q.pool = this;
}

thread_pool::~thread_pool() {
    if (!started_ || generation_ != fork_generation()) return;  // the threads are another process's
    stop_ = true;
    calls_.fetch_add(1);
    futex(calls_, FUTEX_WAKE_PRIVATE, INT_MAX);
    for (size_t i = 1; i <= started_; ++i) pthread_join(queues_[i].thread, nullptr);
}

void thread_pool::run(size_t n, void (*task)(void *, size_t), void *arg) noexcept {
    if (generation_.load(std::memory_order_acquire) != fork_generation()) forget_lost_threads();
    if (n < 2 || n > INT32_MAX || busy_.exchange(true, std::memory_order_acquire)) return run_serially(n, task, arg);
    if (started_ + 1 < queues_.size()) start();
    const size_t threads = queues_.size();
    task_.store(task, std::memory_order_relaxed);
    arg_.store(arg, std::memory_order_relaxed);
    unfinished_.store(static_cast<uint32_t>(n), std::memory_order_relaxed);
    for (size_t i = 0; i < std::min(n, threads); ++i)
        queues_[i].left.store(static_cast<uint32_t>((n - i + threads - 1) / threads), std::memory_order_release);
    // Of this and the addition in sleep() one is first: a thread that is not counted here will find its tasks.
    if (sleepers_.fetch_add(0, std::memory_order_acq_rel)) wake(n);
    if (const uint32_t done = take_from(0)) finish(done);
    wait();
    busy_.store(false, std::memory_order_release);
}

// Starts the threads that are missing. The program's own threads get its signals, but for those of faults, which the
// thread that causes them must get: blocked, they would end the process without the program's handler.
void thread_pool::start() noexcept {
    if (const uint32_t n = untried_.load(std::memory_order_relaxed); n > 1) {
        untried_.store(n - 1, std::memory_order_relaxed);
        return;
    }
    untried_ = 0;
    const auto enter = [](void *seat) -> void * {
        auto &mine = *static_cast<queue *>(seat);
        mine.pool->work(static_cast<size_t>(&mine - mine.pool->queues_.data()));
        return nullptr;
    };
    sigset_t all, before;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started_ + 1 < queues_.size(); ++started_) {
        queue &next = queues_[started_ + 1];
        next.is_new.store(true, std::memory_order_relaxed);
        if (pthread_create(&next.thread, nullptr, enter, &next)) {
            next.is_new.store(false, std::memory_order_relaxed);
            untried_ = regions_per_try;
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// In the child of a fork(), whatever its parent's threads were doing.
void thread_pool::forget_lost_threads() noexcept {
    const std::lock_guard lock(fork_lock());
    if (generation_.load(std::memory_order_relaxed) == fork_generation()) return;
    for (queue &q : queues_) {
        q.left = 0;
        q.asleep = q.is_new = false;
    }
    started_ = 0;
    untried_ = unfinished_ = sleepers_ = 0;
    busy_ = caller_sleeps_ = false;
    generation_ = fork_generation();
}

// Takes and does tasks of a queue until none is left. @return how many
uint32_t thread_pool::take_from(size_t owner) noexcept {
    std::atomic<uint32_t> &left = queues_[owner].left;
    uint32_t done = 0;
    for (uint32_t n = left.load(std::memory_order_relaxed); n;)
        if (left.compare_exchange_weak(n, n - 1, std::memory_order_acquire, std::memory_order_relaxed)) {
            task_.load(std::memory_order_relaxed)(arg_.load(std::memory_order_relaxed),
                                                  owner + (n - 1) * queues_.size());
            ++done, n = left.load(std::memory_order_relaxed);
        }
    return done;
}

uint32_t thread_pool::take_from_all(size_t first) noexcept {
    uint32_t done = 0;
    for (size_t i = 0; i < queues_.size(); ++i) {
        const size_t owner = (first + i) % queues_.size();
        if (owner == first || !queues_[owner].is_new.load(std::memory_order_relaxed)) done += take_from(owner);
    }
    return done;
}

// Wakes as many threads as sleep though they have tasks. Others may wake instead, and do the tasks.
void thread_pool::wake(size_t n) noexcept {
    uint32_t late = 0;
    for (size_t i = 1; i < std::min(n, queues_.size()); ++i) late += queues_[i].asleep.load(std::memory_order_relaxed);
    if (!late) return;
    calls_.fetch_add(1, std::memory_order_relaxed);
    futex(calls_, FUTEX_WAKE_PRIVATE, late);
}

void thread_pool::finish(uint32_t tasks) noexcept {
    if (unfinished_.fetch_sub(tasks) == tasks && caller_sleeps_.load()) futex(unfinished_, FUTEX_WAKE_PRIVATE, 1);
}

// Waits until all tasks are done, and does those that nobody has begun.
void thread_pool::wait() noexcept {
    steady::time_point end{};
    for (unsigned spins = 1; unfinished_.load(std::memory_order_acquire); ++spins) {
        pause();
        if (spins % pauses_per_look) continue;
        if (spins == pauses_per_look) {
            if (const uint32_t done = take_from_all(0)) finish(done);  // then somebody does each task
            end = steady::now() + caller_patience;
        } else if (steady::now() > end) {
            caller_sleeps_ = true;
            while (const uint32_t n = unfinished_.load()) futex(unfinished_, FUTEX_WAIT_PRIVATE, n);
            caller_sleeps_.store(false, std::memory_order_relaxed);
        }
    }
}

// The life of a thread that is not the caller.
void thread_pool::work(size_t self) noexcept {
    std::atomic<uint32_t> &mine = queues_[self].left;
    steady::time_point end = steady::now() + worker_patience;
    for (unsigned spins = 1; !stop_.load(std::memory_order_relaxed); ++spins) {
        uint32_t done = mine.load(std::memory_order_relaxed) ? take_from(self) : 0;
        if (spins == pauses_per_look && unfinished_.load(std::memory_order_relaxed)) done += take_from_all(self);
        if (done) {
            queues_[self].is_new.store(false, std::memory_order_relaxed);
            finish(done);
        } else if (spins % pauses_per_look || steady::now() < end) {
            pause();
            continue;
        } else {
            sleep(self);
            if (const uint32_t found = take_from_all(self)) finish(found);
        }
        spins = 0;
        end = steady::now() + worker_patience;
    }
}

// Sleeps until a region has tasks for threads that sleep.
void thread_pool::sleep(size_t self) noexcept {
    queue &mine = queues_[self];
    const uint32_t seen = calls_.load(std::memory_order_acquire);
    mine.is_new.store(false, std::memory_order_relaxed);  // others may be woken instead
    mine.asleep.store(true, std::memory_order_relaxed);
    sleepers_.fetch_add(1, std::memory_order_acq_rel);
    if (!mine.left.load(std::memory_order_relaxed) && !stop_.load()) futex(calls_, FUTEX_WAIT_PRIVATE, seen);
    mine.asleep.store(false, std::memory_order_relaxed);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace ss1
