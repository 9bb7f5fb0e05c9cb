// SPDX-License-Identifier: Apache-2.0
// Memory for packed weights: blocks side by side on huge pages. From pages of 4 KB a core reads 288 KB that no cache
// holds at 13.9 GB/s, from those of 2 MB at 16.2 (Emerald Rapids), but blocks of their own get huge pages only if they
// are larger.
#pragma once
#include <cstddef>
#include <mutex>
#include <vector>

#include "base/buffer.hpp"

namespace ss1 {

// For blocks that live long. What is freed is used again only when all of its chunk is. Any thread may call.
class arena {
  public:
    static bool serves(size_t bytes) noexcept { return bytes >= least && bytes <= most; }

    void *alloc(size_t bytes) noexcept;  // 64-byte aligned; NULL if memory is out
    void free(void *p, size_t bytes) noexcept;

  private:
    static constexpr size_t chunk_bytes = size_t{8} << 20, least = size_t{64} << 10, most = chunk_bytes / 2;

    struct chunk {
        buffer memory;
        size_t used = 0, blocks = 0;
    };

    std::mutex mutex_;
    std::vector<chunk> chunks_;  // the last one may have room
};

}  // namespace ss1
