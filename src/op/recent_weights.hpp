// SPDX-License-Identifier: Apache-2.0
// Which packed weights this core's L2 may still hold. Layers cannot know it: the same weights are there again in every
// run of a single layer, and never in a deep net.
#pragma once
#include <cstddef>

namespace ss1 {

// The calling thread is about to run through `bytes` of packed weights. Returns whether it did so before and has run
// through at most l2 bytes since, these included. Weights of less than a 32nd of L2 are not kept track of and count
// as there.
bool run_recently(const void *weights, size_t bytes, size_t l2) noexcept;

}  // namespace ss1
