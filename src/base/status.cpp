// SPDX-License-Identifier: Apache-2.0
#include "base/status.hpp"

#include <cstdarg>
#include <cstdio>
#include <exception>
#include <new>

namespace ss1 {
namespace {

thread_local char message[1024];
thread_local const char *running = nullptr;

}  // namespace

ss1_status fail(ss1_status status, const char *format, ...) noexcept {
    // The arguments may point into the message itself (an outer call that adds context), so format into a local buffer.
    char text[sizeof message];
    int used = running ? std::snprintf(text, sizeof text, "%s: ", running) : 0;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text + used, sizeof text - static_cast<size_t>(used), format, arguments);
    va_end(arguments);
    std::snprintf(message, sizeof message, "%s", text);
    return status;
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
