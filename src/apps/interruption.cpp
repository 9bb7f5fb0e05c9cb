// SPDX-License-Identifier: Apache-2.0
#include "apps/interruption.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

namespace ss1::apps {
namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};

std::atomic<const char *> half_made_file;
static_assert(decltype(half_made_file)::is_always_lock_free);  // the handler reads it
int32_t signal_that_came;                                      // the library reads it, too

// Everything here may be called in a signal handler.
void put(const char *text) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

void say(const char *message) {
    if (isatty(STDERR_FILENO)) put("\r\033[K");  // the line of progress
    put(message);
}

void set(void (*handler)(int)) {
    struct sigaction action = {}, before;
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    for (const int signal : signals)
        if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signal, &action, nullptr);
}

// Ends the process by a signal that came, at once or when its handler returns.
void end_by(int signal) {
    set(SIG_DFL);
    raise(signal);
}

// Removes the file that is half made and ends the process by the signal that came. Without a file, the signal is noted,
// or a handler that was called before is about to end the process.
void remove_and_end() {
    const char *path = half_made_file.exchange(nullptr);
    if (!path) return;
    unlink(path);
    say("interrupted: nothing written\n");
    end_by(__atomic_load_n(&signal_that_came, __ATOMIC_SEQ_CST));
}

void on_signal(int signal) {
    __atomic_store_n(&signal_that_came, signal, __ATOMIC_SEQ_CST);
    remove_and_end();
}

}  // namespace

interruption::interruption() {
    set(on_signal);
}

interruption::~interruption() {
    set(SIG_DFL);
    if (is_armed_) disarm();
}

const int32_t *interruption::flag() const {
    return &signal_that_came;
}

void interruption::obey(const char *message) const {
    const int signal = __atomic_load_n(&signal_that_came, __ATOMIC_RELAXED);
    if (!signal) return;
    say(message);
    end_by(signal);
}

void interruption::arm(const char *half_made) {
    half_made_file = half_made;
    is_armed_ = true;
    if (*flag()) remove_and_end();
}

void interruption::disarm() {
    is_armed_ = false;
    // Without the pointer, a handler in another thread has it: that is about to end the process.
    if (!half_made_file.exchange(nullptr))
        for (;;) pause();
}

}  // namespace ss1::apps
