// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <functional>

namespace ss1::cli {

// Calls work(0), ..., work(n - 1) on several threads, and each(done, n) now and then on the calling one. Throws the
// first failure, also one of each(), when the calls that run have ended.
void on_threads(size_t threads, size_t n, const std::function<void(size_t, size_t)> &each,
                const std::function<void(size_t)> &work);

}  // namespace ss1::cli
