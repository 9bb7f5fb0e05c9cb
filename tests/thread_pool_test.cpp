// SPDX-License-Identifier: Apache-2.0
// The threads of a context: each task runs once, whoever calls from wherever, and who waits uses no CPU time.
#include "base/thread_pool.hpp"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "check.hpp"
#include "sanitizers.hpp"

namespace {

using ss1::thread_pool;

// Runs f(i) for i in [0, n).
template <class F>
void run(thread_pool &pool, size_t n, F &&f) {
    pool.run(
        n, [](void *arg, size_t i) { (*static_cast<std::remove_reference_t<F> *>(arg))(i); }, &f);
}

// Returns whether each task runs once, and all have run when the region ends. @param times of each task, 0 before
template <class Counts>
bool runs_each_once(thread_pool &pool, Counts &times) {
    run(pool, times.size(), [&](size_t i) { times[i].fetch_add(1, std::memory_order_relaxed); });
    for (const auto &t : times)
        if (t.load(std::memory_order_relaxed) != 1) return false;
    return true;
}

bool runs_each_once(thread_pool &pool, size_t n) {
    std::vector<std::atomic<int>> times(n);
    return runs_each_once(pool, times);
}

size_t threads_of_process() {
    DIR *const tasks = opendir("/proc/self/task");
    if (!tasks) return 0;
    size_t found = 0;
    while (const dirent *task = readdir(tasks)) found += task->d_name[0] != '.';
    closedir(tasks);
    return found;
}

void rest(int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

// Whether a condition holds within 5 s.
template <class F>
bool becomes(F &&condition) {
    for (int tries = 0; tries < 5000 && !condition(); ++tries) rest(1);
    return condition();
}

double cpu_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval &t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

TEST_CASE("a pool runs each task once, also after its threads fell asleep") {
    ss1_test::seeded random;
    for (const uint32_t threads : {1u, 2u, 3u, 8u, 33u}) {
        thread_pool pool(threads);
        for (int region = 0; region < 2000; ++region) {
            if (region % 500 == 499) rest(2);
            const size_t n = random.index(0, region % 3 ? 2 * threads : 1000);
            if (!runs_each_once(pool, n))
                FAIL("region " << region << " of " << n << " tasks, " << threads << " threads");
        }
    }
}

TEST_CASE("a pool starts its threads in the first region and ends them with itself") {
    size_t before = 0;  // threads that were joined may be listed for a moment, and ThreadSanitizer has one of its own
    CHECK(becomes([&] {
        before = threads_of_process();
        rest(50);
        return before == threads_of_process();
    }));
    {
        thread_pool pool(5);
        CHECK(runs_each_once(pool, 1));
        CHECK(threads_of_process() == before);
        CHECK(runs_each_once(pool, 7));
        CHECK(threads_of_process() == before + 4);
        CHECK(runs_each_once(pool, 7));
        CHECK(threads_of_process() == before + 4);
    }
    CHECK(becomes([&] { return threads_of_process() == before; }));
}

TEST_CASE("threads that sleep wake for their tasks") {
    thread_pool pool(4);
    alarm(60);  // each region needs four threads at once
    for (int region = 0; region < 50; ++region) {
        rest(2);
        std::atomic<int> here{0};
        run(pool, 4, [&](size_t) {
            ++here;
            while (here < 4) rest(1);
        });
    }
    alarm(0);
}

TEST_CASE("several callers and regions within regions") {
    thread_pool pool(4);
    std::atomic<size_t> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&] {
            for (int region = 0; region < 500; ++region) {
                std::atomic<size_t> sum{0};
                run(pool, 6, [&](size_t i) { run(pool, 3, [&](size_t j) { sum += 3 * i + j; }); });
                wrong += sum != 17 * 18 / 2;
            }
        });
    for (std::thread &caller : callers) caller.join();
    CHECK(wrong == 0);
}

TEST_CASE("threads that wait use no CPU time") {
    thread_pool pool(8);
    CHECK(runs_each_once(pool, 8));
    CHECK(becomes([] {  // on a busy machine they fall asleep late
        const double before = cpu_seconds();
        rest(300);
        return cpu_seconds() - before < 0.05;
    }));

    // The caller waits, too, while another thread does what takes long.
    CHECK(becomes([&] {
        const double before = cpu_seconds();
        run(pool, 8, [](size_t) { rest(300); });
        return cpu_seconds() - before < 0.1;
    }));
    CHECK(runs_each_once(pool, 100));
}

namespace {

std::atomic<int> faults{0};

// Lets the page that a thread wrote to be written, as programs do that watch pages.
void allow(int, siginfo_t *info, void *) {
    faults.fetch_add(1);
    const auto page = reinterpret_cast<uintptr_t>(info->si_addr) / 4096 * 4096;
    if (mprotect(reinterpret_cast<void *>(page), 4096, PROT_READ | PROT_WRITE) != 0) _exit(2);
}

}  // namespace

TEST_CASE("a fault of any thread reaches the program's handler") {
    constexpr size_t n = 4, page = size_t{1} << 16;  // a multiple of every size of pages
    void *const memory = mmap(nullptr, n * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    struct sigaction action = {}, before;
    action.sa_sigaction = allow;
    action.sa_flags = SA_SIGINFO;
    REQUIRE(sigaction(SIGSEGV, &action, &before) == 0);
    thread_pool pool(n);
    std::atomic<size_t> arrived{0};
    run(pool, n, [&](size_t i) {
        arrived += 1;
        while (arrived < n) std::this_thread::yield();  // each thread has one of the tasks
        static_cast<volatile char *>(memory)[i * page] = 1;
    });
    sigaction(SIGSEGV, &before, nullptr);
    CHECK(faults == n);
    munmap(memory, n * page);
}

#if !THREAD_SANITIZER  // ThreadSanitizer supports no child of fork() that starts threads
// The parent's other threads allocate nothing and start no thread after the first fork: clang 14's AddressSanitizer
// does not lock its allocator for fork(), so that a child may wait for it for ever.
TEST_CASE("the child of a fork has threads of its own, whatever its parent's were doing") {
    thread_pool pool(4);
    std::atomic<bool> stop{false};
    std::atomic<size_t> wrong{0}, regions{0}, arrived{0};
    std::thread other([&] {
        run(pool, 4, [&](size_t) {
            ++arrived;
            while (arrived < 4) std::this_thread::yield();  // until all threads have started
        });
        for (; !stop; ++regions) {
            std::array<std::atomic<int>, 16> times{};
            wrong += !runs_each_once(pool, times);
        }
    });
    CHECK(becomes([&] { return regions > 0; }));
    for (int fork_number = 0; fork_number < 50; ++fork_number) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            alarm(30);
            bool good = true;
            for (int region = 0; region < 20; ++region) good = good && runs_each_once(pool, 9);
            _exit(good && threads_of_process() == 4 ? 0 : 1);
        }
        int status = -1;
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK(status == 0);
    }
    stop = true;
    other.join();
    CHECK(wrong == 0);
}
#endif
