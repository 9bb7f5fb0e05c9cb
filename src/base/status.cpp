// SPDX-License-Identifier: Apache-2.0
#include "base/status.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

namespace ss1 {
namespace {

thread_local char message[1024];
thread_local const char *running = nullptr;
thread_local char executor_failure[256];  // "": the caller's parallel_for has not thrown

}  // namespace

ss1_status fail(ss1_status status, const char *format, ...) noexcept {
    // The arguments may point into the message itself (an outer call that adds context), so format into a local buffer.
    char text[sizeof message];
    int used = running ? std::snprintf(text, sizeof text, "%s: ", running) : 0;
    va_list arguments;
    va_start(arguments, format);
    const int needed = std::vsnprintf(text + used, sizeof text - static_cast<size_t>(used), format, arguments);
    va_end(arguments);
    if (used + needed >= static_cast<int>(sizeof text)) drop_partial_character(text);
    std::snprintf(message, sizeof message, "%s", text);
    return status;
}

void drop_partial_character(char *text) noexcept {
    const size_t size = std::strlen(text);
    size_t lead = size;
    for (int back = 0; back < 4 && lead > 0; ++back) {
        const auto byte = static_cast<unsigned char>(text[--lead]);
        if ((byte & 0xc0) == 0x80) continue;
        const size_t whole = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if (size - lead < whole) text[lead] = 0;
        return;
    }
}

const char *last_error() noexcept {
    return message;
}
void clear_error() noexcept {
    message[0] = 0;
}

api_scope::api_scope(const char *function) noexcept : outer_(running) {
    running = function;
}
api_scope::~api_scope() {
    running = outer_;
}

ss1_status api_scope::result(ss1_status status) const noexcept {
    if (outer_ || !*executor_failure) [[likely]]
        return status;
    const ss1_status failed = check_executor();
    *executor_failure = 0;
    return failed;
}

void note_executor_failure() noexcept {
    try {
        throw;
    } catch (const std::exception &e) {
        std::snprintf(executor_failure, sizeof executor_failure, "%s", e.what());
        drop_partial_character(executor_failure);
    } catch (...) {
    }
    if (!*executor_failure) std::strcpy(executor_failure, "an exception of unknown type");
}

ss1_status check_executor() noexcept {
    if (!*executor_failure) [[likely]]
        return SS1_OK;
    return fail(SS1_ERROR_INVALID_ARGUMENT, "the context's parallel_for threw an exception: %s", executor_failure);
}

ss1_status fail_from_exception() noexcept {
    try {
        throw;
    } catch (const std::bad_alloc &) {
        return fail(SS1_ERROR_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception &e) {
        return fail(SS1_ERROR_INTERNAL, "a bug in ss1: %s", e.what());
    } catch (...) {
        return fail(SS1_ERROR_INTERNAL, "a bug in ss1: an exception of unknown type");
    }
}

}  // namespace ss1
