// SPDX-License-Identifier: Apache-2.0
// Whether this process may use AMX tiles.
#pragma once

namespace ss1 {

// NULL if tile kernels may run, else why not, in words (static storage). The first call asks the system for permission
// (arch_prctl; it holds for all threads of the process and makes their signal frames 8 KB larger, which is why it is
// asked for only by a context that would use tiles) and then runs one product in tiles, guarded: a machine that shows
// AMX in CPUID and faults on it, as some emulators do, is refused too. Thread-safe.
const char *amx_refusal() noexcept;

}  // namespace ss1
