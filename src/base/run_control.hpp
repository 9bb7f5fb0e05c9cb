// SPDX-License-Identifier: Apache-2.0
// Stops a run early: when another thread cancels it or its deadline has passed.
#pragma once
#include <atomic>
#include <chrono>

#include "base/status.hpp"

namespace ss1 {

class run_control {
  public:
    enum use : int { idle, running, cancelled, being_set };

    // Marks the session as in use, as `running` or `being_set`. False if it is in use already.
    bool begin(use as) noexcept {
        int expected = idle;
        if (!state_.compare_exchange_strong(expected, as)) return false;
        if (as == running && deadline_ > 0) start_ = clock::now();
        return true;
    }
    void end() noexcept { state_ = idle; }

    // Between begin() and end() only. 0 means no deadline.
    void set_deadline(double seconds) noexcept { deadline_ = seconds; }

    // Any thread may call it. It has no effect when no run is in progress.
    void cancel() noexcept {
        int expected = running;
        state_.compare_exchange_strong(expected, cancelled);
    }

    // Whether the run should stop; any of its threads may ask. Once true, it stays true until the run ends, so that
    // tasks may skip their work and the thread that started them gets the reason from check().
    bool given_up() const noexcept { return state_ == cancelled || late(); }

    // Called between the stages of a run, on the thread that began it.
    ss1_status check() const noexcept {
        if (!given_up()) [[likely]]
            return SS1_OK;
        SS1_CHECK(state_ != cancelled, SS1_ERROR_CANCELLED, "ss1_session_cancel() was called");
        return fail(SS1_ERROR_DEADLINE, "the deadline of %g s has passed", deadline_);
    }

  private:
    using clock = std::chrono::steady_clock;

    bool late() const noexcept {
        return deadline_ > 0 && std::chrono::duration<double>(clock::now() - start_).count() >= deadline_;
    }

    static_assert(std::atomic<int>::is_always_lock_free);  // cancel() may be called in a signal handler
    std::atomic<int> state_{idle};
    double deadline_ = 0;
    clock::time_point start_;
};

// RAII: a session's only user, if check() is SS1_OK.
class run_scope {
  public:
    explicit run_scope(run_control &control, run_control::use as = run_control::running) noexcept
        : control_(control), taken_(control.begin(as)) {}
    run_scope(const run_scope &) = delete;
    run_scope &operator=(const run_scope &) = delete;
    ~run_scope() {
        if (taken_) control_.end();
    }

    ss1_status check() const noexcept {
        SS1_CHECK(taken_, SS1_ERROR_INVALID_ARGUMENT,
                  "the session is in use by another call: create one session for each thread");
        return SS1_OK;
    }

  private:
    run_control &control_;
    const bool taken_;
};

}  // namespace ss1
