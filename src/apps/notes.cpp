// SPDX-License-Identifier: Apache-2.0
#include "apps/notes.hpp"

#include <cstdarg>
#include <cstdio>

namespace ss1::apps {
namespace {

int verbosity = 0;

}  // namespace

void set_verbosity(int level) noexcept {
    verbosity = level;
}

bool is_quiet() noexcept {
    return verbosity < 0;
}

ss1_log_level log_level() noexcept {
    return verbosity < 0    ? SS1_LOG_ERROR
           : verbosity == 0 ? SS1_LOG_WARNING
           : verbosity == 1 ? SS1_LOG_INFO
                            : SS1_LOG_DEBUG;
}

void note(const char *text, ...) {
    if (is_quiet()) return;
    va_list arguments;
    va_start(arguments, text);
    std::vfprintf(stderr, text, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
}

}  // namespace ss1::apps
