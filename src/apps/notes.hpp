// SPDX-License-Identifier: Apache-2.0
// What a program says on stderr besides errors.
#pragma once
#include "ss1/ss1.h"

namespace ss1::apps {

// -1 (--quiet): nothing. 0: warnings, totals and, on a terminal, progress. 1, 2 (--verbose, twice): also the library's
// decisions, also its details. Set it before the first context is made.
void set_verbosity(int level) noexcept;
bool is_quiet() noexcept;
ss1_log_level log_level() noexcept;

// Writes a line to stderr unless the program is quiet.
[[gnu::format(printf, 1, 2)]] void note(const char *text, ...);

}  // namespace ss1::apps
