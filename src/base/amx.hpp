// SPDX-License-Identifier: Apache-2.0
// Finds out whether this process may use AMX tiles.
#pragma once

namespace ss1 {

// Returns NULL if tile kernels may run, else the reason in words (static storage). The first call asks the system for
// permission (arch_prctl). Permission holds for all threads of the process and makes their signal frames 8 KB larger,
// so only a context that would use tiles asks. The call then runs one product in tiles, guarded: a machine that shows
// AMX in CPUID and faults on it, as some emulators do, is refused too. Thread-safe.
const char *amx_refusal() noexcept;

}  // namespace ss1
