// SPDX-License-Identifier: Apache-2.0
#include "base/arena.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <new>

#include "base/fork_lock.hpp"

namespace ss1 {
namespace {

// Leaves a gap of 64 bytes between blocks, so that ASan finds reads past a block.
size_t room_for(size_t bytes) noexcept {
    return (bytes + 127) / 64 * 64;
}

}  // namespace

void *arena::alloc(size_t bytes) noexcept try {
    const std::lock_guard lock(fork_lock());
    const size_t room = room_for(bytes);
    if (chunks_.empty() || chunk_bytes - chunks_.back().used < room) {
        chunk fresh;
        if (fresh.memory.allocate(allocator(), chunk_bytes) != SS1_OK) return nullptr;
        chunks_.push_back(std::move(fresh));
        ASAN_POISON_MEMORY_REGION(chunks_.back().memory.data(), chunk_bytes);
    }
    chunk &last = chunks_.back();
    char *p = last.memory.as<char>() + last.used;
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    last.used += room;
    last.blocks++;
    return p;
} catch (const std::bad_alloc &) {
    return nullptr;
}

void arena::free(void *p, size_t bytes) noexcept {
    const std::lock_guard lock(fork_lock());
    const auto of = std::find_if(chunks_.begin(), chunks_.end(), [p](const chunk &c) {
        return std::less_equal<>()(c.memory.data(), p) && std::less<>()(p, c.memory.as<char>() + chunk_bytes);
    });
    ASAN_POISON_MEMORY_REGION(p, bytes);
    if (--of->blocks > 0) return;
    ASAN_UNPOISON_MEMORY_REGION(of->memory.data(), chunk_bytes);
    chunks_.erase(of);
}

}  // namespace ss1
