// SPDX-License-Identifier: Apache-2.0
#include "op/recent_weights.hpp"

#include <algorithm>

namespace ss1 {
namespace {

struct use {
    const void *weights;
    size_t bytes;
};
constexpr size_t most = 32;
constinit thread_local use recent[most] = {};  // the latest first

}  // namespace

bool used_recently(const void *weights, size_t bytes, size_t l2) noexcept {
    if (bytes < l2 / most) return true;
    size_t since = bytes, i = 0;
    while (i + 1 < most && recent[i].weights != weights && since <= l2) since += recent[i++].bytes;
    const bool there = recent[i].weights == weights && since <= l2;
    // The entries after i keep their places: they are older than L2 can hold.
    std::copy_backward(recent, recent + i, recent + i + 1);
    recent[0] = {weights, bytes};
    return there;
}

}  // namespace ss1
