// SPDX-License-Identifier: Apache-2.0
#include "base/amx.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <mutex>

#include "base/fork_lock.hpp"
#endif

namespace ss1 {

#if defined(__x86_64__) && defined(__linux__)
namespace {

constexpr int arch_req_xcomp_perm = 0x1023;
constexpr int xfeature_xtiledata = 18;

thread_local sigjmp_buf *probing = nullptr;
struct sigaction previous_ill, previous_segv;

// Other threads may fault while the probe runs: their faults are passed to the previous handler.
void on_fault(int signal, siginfo_t *info, void *context) {
    if (probing) siglongjmp(*probing, 1);
    const struct sigaction &previous = signal == SIGILL ? previous_ill : previous_segv;
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
        sigaction(signal, &previous, nullptr);  // the instruction faults again, by the default action
    } else {
        previous.sa_handler(signal);
    }
}

// Computes 16 x 16 sums of 32 products 1 * 2 in tiles. Returns whether they are right.
[[gnu::target("amx-tile,amx-bf16"), gnu::noinline]] bool tiles_multiply() noexcept {
    static constexpr struct alignas(64) {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t bytes[16] = {64, 64, 64};
        uint8_t rows[16] = {16, 16, 16};
    } config;
    alignas(64) uint16_t a[512], b[512];
    alignas(64) float c[256] = {};
    for (uint16_t &v : a) v = 0x3f80;  // 1 in bf16
    for (uint16_t &v : b) v = 0x4000;  // 2
    const long stride = 64;
    asm volatile(
        "ldtilecfg %0\n\t"
        "tilezero %%tmm0\n\t"
        "tileloadd (%1,%4,1), %%tmm1\n\t"
        "tileloadd (%2,%4,1), %%tmm2\n\t"
        "tdpbf16ps %%tmm2, %%tmm1, %%tmm0\n\t"
        "tilestored %%tmm0, (%3,%4,1)\n\t"
        "tilerelease"
        :
        : "m"(config), "r"(a), "r"(b), "r"(c), "r"(stride)
        : "memory");
    for (const float sum : c)
        if (sum != 64) return false;
    return true;
}

bool probe() noexcept {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;  // faults of other threads come here, too: Go demands it
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, &previous_ill);
    sigaction(SIGSEGV, &action, &previous_segv);
    sigjmp_buf here;
    volatile bool good = false;
    if (sigsetjmp(here, 1) == 0) {
        probing = &here;
        good = tiles_multiply();
    }
    probing = nullptr;
    sigaction(SIGSEGV, &previous_segv, nullptr);
    sigaction(SIGILL, &previous_ill, nullptr);
    return good;
}

const char *ask() noexcept {
    if (syscall(SYS_arch_prctl, arch_req_xcomp_perm, xfeature_xtiledata) != 0)
        return errno == EPERM    ? "the system denies tile data to this process (arch_prctl: EPERM)"
               : errno == ENOSYS ? "the system denies tile data to this process (arch_prctl: ENOSYS)"
               : errno == ENOSPC ? "a thread's alternate signal stack is too small for tile data (arch_prctl: ENOSPC)"
                                 : "the system does not know tile data (arch_prctl: EINVAL)";
    return probe() ? nullptr : "a product in tiles faulted or was wrong";
}

}  // namespace

const char *amx_refusal() noexcept {
    static bool asked = false;
    static const char *refusal = nullptr;
    const std::lock_guard lock(fork_lock());
    if (!asked) refusal = ask(), asked = true;
    return refusal;
}

#else

const char *amx_refusal() noexcept {
    return "not this architecture";
}

#endif

}  // namespace ss1
