// SPDX-License-Identifier: Apache-2.0
// Errors: functions return a status; its message stays in a thread-local buffer for ss1_last_error().
#pragma once
#include "ss1/ss1.h"

namespace ss1 {

// Sets this thread's message, prefixed with the name of the running API function, and returns `status`.
[[gnu::format(printf, 2, 3)]] ss1_status fail(ss1_status status, const char *format, ...) noexcept;

// Ends `text` before its last UTF-8 character if only a part of it is there, as where a buffer was too small.
void drop_partial_character(char *text) noexcept;

const char *last_error() noexcept;
void clear_error() noexcept;

// Sets the name of the running API function of this thread; fail() prefixes its message with it.
class api_scope {
  public:
    explicit api_scope(const char *function) noexcept;
    ~api_scope();
    api_scope(const api_scope &) = delete;
    api_scope &operator=(const api_scope &) = delete;

    // The status of the function: `status`, unless its caller's parallel_for has thrown.
    ss1_status result(ss1_status status) const noexcept;

  private:
    const char *outer_;
};

// Call it inside a catch block around the caller's parallel_for. The exception must not pass through the library, whose
// functions are noexcept; the API function that runs on this thread returns it as an error.
void note_executor_failure() noexcept;
// Fails if the caller's parallel_for has thrown during this API function.
ss1_status check_executor() noexcept;

// Call it inside a catch block: turns the current exception into a status with a message.
ss1_status fail_from_exception() noexcept;

// Every API function runs its body in here, so that it returns a status and never throws.
template <class F>
ss1_status guarded(const char *function, F &&body) noexcept {
    const api_scope scope(function);
    try {
        return scope.result(body());
    } catch (...) {
        return scope.result(fail_from_exception());
    }
}

}  // namespace ss1

#define SS1_CHECK(condition, status, ...)              \
    do {                                               \
        if (!(condition)) [[unlikely]]                 \
            return ::ss1::fail((status), __VA_ARGS__); \
    } while (0)
#define SS1_TRY(expression)                                                            \
    do {                                                                               \
        if (const ss1_status ss1_try_ = (expression); ss1_try_ != SS1_OK) [[unlikely]] \
            return ss1_try_;                                                           \
    } while (0)
