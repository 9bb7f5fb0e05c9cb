// SPDX-License-Identifier: Apache-2.0
#include "base/buffer.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#include "base/context.hpp"
#include "base/status.hpp"

namespace ss1 {
namespace {

constexpr size_t cache_line = 64;
constexpr size_t huge_page = size_t{2} << 20;

// Blocks of at least two huge pages are aligned to huge pages and ask the kernel for them.
size_t default_alignment(size_t bytes) noexcept {
    return bytes >= 2 * huge_page ? huge_page : cache_line;
}

void *default_alloc(size_t bytes) noexcept {
    // No object can be larger. operator new rounds up to the alignment, and in libstdc++ that sum wraps to a few bytes.
    if (bytes > PTRDIFF_MAX) return nullptr;
    const size_t alignment = default_alignment(bytes);
    void *p = ::operator new (bytes, std::align_val_t{alignment}, std::nothrow);
    if (p && alignment == huge_page) madvise(p, bytes, MADV_HUGEPAGE);  // advice: failure is harmless
    return p;
}

}  // namespace

buffer::~buffer() {
    if (!data_) return;
    if (from_.free) {
        from_.free(from_.user, data_, bytes_);
    } else {
        ::operator delete (data_, std::align_val_t{default_alignment(bytes_)});
    }
}

ss1_status buffer::allocate(const allocator &from, size_t bytes) noexcept {
    buffer fresh;
    if (bytes) {
        fresh.data_ = from.alloc ? from.alloc(from.user, bytes, cache_line) : default_alloc(bytes);
        SS1_CHECK(fresh.data_, SS1_ERROR_OUT_OF_MEMORY, "out of memory: the allocator has no %zu bytes", bytes);
        fresh.bytes_ = bytes;
        fresh.from_ = from;
        SS1_CHECK(reinterpret_cast<uintptr_t>(fresh.data_) % cache_line == 0, SS1_ERROR_INVALID_ARGUMENT,
                  "the alloc callback returned %p, which is not a multiple of %zu", fresh.data_, cache_line);
    }
    *this = std::move(fresh);
    return SS1_OK;
}

ss1_status buffer::allocate(const ss1_context &context, size_t bytes) noexcept {
    return allocate(context.memory, bytes);
}

}  // namespace ss1
