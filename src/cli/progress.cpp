// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <unistd.h>

#include <cstdio>

#include "apps/notes.hpp"

namespace ss1::cli {

progress::progress()
    : terminal_(!apps::is_quiet() && isatty(STDERR_FILENO) == 1), next_(std::chrono::steady_clock::now()) {}

progress::~progress() {
    clear();
}

bool progress::due() {
    return terminal_ && std::chrono::steady_clock::now() >= next_;
}

void progress::show(const std::string &text) {
    if (!terminal_) return;
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    shown_ = true;
    next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
}

void progress::clear() {
    if (shown_) std::fprintf(stderr, "\r\033[K");
    shown_ = false;
}

}  // namespace ss1::cli
