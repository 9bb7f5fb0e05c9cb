// SPDX-License-Identifier: Apache-2.0
// Keeps readers of rows apart from writers who replace some, so that a reader sees each row old or new, never between.
// Readers do not exclude each other. Those that had to wait get in before the gate closes again, so that a stream of
// writers cannot keep them out. Nobody calls the system unless somebody waits. A reader must start no tasks and take no
// lock: a task of another session, which waits at the gate, may hold the thread that it waits for.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/fork_lock.hpp"

namespace ss1 {

class alignas(64) row_gate {  // runs write to it: it must not share a line with what they read
  public:
    // Readers call these. No row changes between enter() and leave().
    void enter() noexcept {
        bool waits = false;
        for (uint64_t seen = state_.load(std::memory_order_relaxed);;) {
            const uint64_t now = of_this_process(seen);
            if (!(now & writing)) {
                if (!change(seen, now + reader - (waits ? waiting : 0))) continue;
                if (waits) state_.notify_all();  // a writer may wait for the last of those that waited
                return;
            }
            if (!waits && !change(seen, now + waiting)) continue;
            waits = true;
            seen = state_.load(std::memory_order_relaxed);
            if (seen & writing)
                state_.wait(seen);  // no writer enters before this reader: the state cannot become `seen` again
            seen = state_.load(std::memory_order_relaxed);
        }
    }
    void leave() noexcept {
        const uint64_t before = state_.fetch_sub(reader, std::memory_order_release);
        if ((before & writing) && before % writing == reader) state_.notify_all();  // the writer waits for the last one
    }

    // Writers call these. One writer is inside at a time: close() waits until no reader is, and keeps others out.
    void close() noexcept {
        for (uint64_t seen = state_.load(std::memory_order_relaxed);;) {
            const uint64_t now = of_this_process(seen);
            if (now % generation < writing) {
                if (change(seen, now + writing)) break;
                continue;
            }
            state_.wait(seen);  // a writer is inside, or readers wait
            seen = state_.load(std::memory_order_relaxed);
        }
        for (uint64_t seen = state_.load(std::memory_order_acquire); seen % writing != 0;
             seen = state_.load(std::memory_order_acquire))
            state_.wait(seen);
    }
    void open() noexcept {
        state_.fetch_and(~writing, std::memory_order_release);
        state_.notify_all();
    }

  private:
    // The state: readers inside (16 bits), a writer, readers that wait (15 bits), and the generation of the process
    // that counted them: a child of fork() lacks its parent's threads.
    static constexpr uint64_t reader = 1, writing = uint64_t{1} << 16, waiting = uint64_t{1} << 17,
                              generation = uint64_t{1} << 32;

    static uint64_t of_this_process(uint64_t state) noexcept {
        const uint64_t mine = fork_generation() * generation;
        return state / generation * generation == mine ? state : mine;
    }
    bool change(uint64_t &seen, uint64_t to) noexcept {
        return state_.compare_exchange_weak(seen, to, std::memory_order_acquire, std::memory_order_relaxed);
    }

    std::atomic<uint64_t> state_{0};
};

// RAII: a reader of rows, or nothing for rows without a gate, which never change.
class row_reader {
  public:
    explicit row_reader(row_gate *gate) noexcept : gate_(gate) {
        if (gate_) gate_->enter();
    }
    row_reader(const row_reader &) = delete;
    row_reader &operator=(const row_reader &) = delete;
    ~row_reader() {
        if (gate_) gate_->leave();
    }

  private:
    row_gate *gate_;
};

// RAII: a writer of rows.
class row_writer {
  public:
    explicit row_writer(row_gate &gate) noexcept : gate_(gate) { gate_.close(); }
    row_writer(const row_writer &) = delete;
    row_writer &operator=(const row_writer &) = delete;
    ~row_writer() { gate_.open(); }

  private:
    row_gate &gate_;
};

}  // namespace ss1
