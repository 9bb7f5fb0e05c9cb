// SPDX-License-Identifier: Apache-2.0
// Keeps readers of rows apart from a writer who replaces some, so that a reader sees each row old or new, never
// between. Readers do not exclude each other. Nobody calls the system unless somebody waits. A reader must start no
// tasks and wait for nobody: a task of another session, which waits at the gate, may hold the thread that it waits for.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/fork_lock.hpp"

namespace ss1 {

class row_gate {
  public:
    // For readers: rows stay as they are from enter() to leave().
    void enter() noexcept { take(1, writing); }
    void leave() noexcept {
        // The last reader wakes the writer.
        if (state_.fetch_sub(1, std::memory_order_release) % generation_unit == writing + 1) state_.notify_all();
    }

    // For a writer: waits until no reader is inside and keeps others out; a writer goes before readers that come later.
    void close() noexcept {
        take(writing, writing);
        for (uint64_t seen = state_.load(std::memory_order_acquire); seen % writing != 0;
             seen = state_.load(std::memory_order_acquire))
            state_.wait(seen);
    }
    void open() noexcept {
        state_.fetch_and(~writing, std::memory_order_release);
        state_.notify_all();
    }

  private:
    // The state: readers in 31 bits, then `writing`, then the generation of the process that counted them.
    static constexpr uint64_t writing = uint64_t{1} << 31, generation_unit = uint64_t{1} << 32;

    // Adds `what` to the state once none of the bits `blocked` is set.
    void take(uint64_t what, uint64_t blocked) noexcept {
        uint64_t seen = state_.load(std::memory_order_relaxed);
        for (;;) {
            const uint64_t mine = fork_generation() * generation_unit;
            const uint64_t now = seen / generation_unit * generation_unit == mine ? seen : mine;
            if (now & blocked) {
                state_.wait(seen);
                seen = state_.load(std::memory_order_relaxed);
            } else if (state_.compare_exchange_weak(seen, now + what, std::memory_order_acquire,
                                                    std::memory_order_relaxed)) {
                return;
            }
        }
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
