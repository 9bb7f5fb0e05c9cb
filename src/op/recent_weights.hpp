// SPDX-License-Identifier: Apache-2.0
// Guesses whether this core's L2 still holds packed weights. A layer cannot know: run alone its weights stay in cache,
// in a deep net they never do.
#pragma once
#include <cstddef>

namespace ss1 {

// The calling thread is about to read `bytes` of packed weights. Returns whether it has read them before and at most l2
// bytes since, these included. Weights smaller than a 32nd of L2 are not tracked; for them it returns true.
bool used_recently(const void *weights, size_t bytes, size_t l2) noexcept;

}  // namespace ss1
