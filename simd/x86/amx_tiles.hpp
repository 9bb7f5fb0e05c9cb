// SPDX-License-Identifier: Apache-2.0
// Loads and stores tiles, with `stride` bytes between rows. In assembly: GCC 12's intrinsics take no template parameter
// as the number of a tile. Only files with AMX flags may include it.
#pragma once
#include <cstddef>

namespace ss1 {
namespace {

template <int t>
inline void load(const void *p, size_t stride) noexcept {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(t) : "memory");
}
template <int t>
inline void store(void *p, size_t stride) noexcept {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(t) : "memory");
}
template <int t>
inline void zero() noexcept {
    asm volatile("tilezero %%tmm%c0" ::"i"(t));
}

}  // namespace
}  // namespace ss1
