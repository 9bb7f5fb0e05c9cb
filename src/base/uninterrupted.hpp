// SPDX-License-Identifier: Apache-2.0
// Makes a system call again whenever a signal interrupts it, as network file systems allow even for open().
#pragma once
#include <cerrno>
#include <type_traits>

namespace ss1 {

// The result of `call()`, which fails by a negative number or a null pointer, with errno.
template <class F>
auto uninterrupted(F &&call) {
    for (;;) {
        const auto result = call();
        bool failed;
        if constexpr (std::is_pointer_v<decltype(call())>)
            failed = !result;
        else
            failed = result < 0;
        if (!failed || errno != EINTR) return result;
    }
}

}  // namespace ss1
