// SPDX-License-Identifier: Apache-2.0
// Memory for weights, scratch and activations, from the context's allocator.
#pragma once
#include <cstddef>
#include <utility>

#include "ss1/ss1.h"

namespace ss1 {

// The caller's allocator, or operator new's aligned form. Each buffer has a copy, so that it can free itself after its
// context is gone.
struct allocator {
    ss1_alloc_fn alloc = nullptr;
    ss1_free_fn free = nullptr;
    void *user = nullptr;
};

// Owns one block of 64-byte aligned, uninitialised memory. Move only.
class buffer {
  public:
    buffer() = default;
    buffer(buffer &&other) noexcept { swap(other); }
    buffer &operator=(buffer &&other) noexcept {
        buffer(std::move(other)).swap(*this);
        return *this;
    }
    buffer(const buffer &) = delete;
    buffer &operator=(const buffer &) = delete;
    ~buffer();

    // Frees the old block. 0 bytes allocate nothing. @return SS1_OK or SS1_ERROR_OUT_OF_MEMORY with the size in the
    // message.
    ss1_status allocate(const allocator &from, size_t bytes) noexcept;
    ss1_status allocate(const ss1_context &context, size_t bytes) noexcept;

    void *data() const noexcept { return data_; }
    size_t bytes() const noexcept { return bytes_; }
    template <class T>
    T *as() const noexcept {
        return static_cast<T *>(data_);
    }

  private:
    void swap(buffer &other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        std::swap(from_, other.from_);
    }

    void *data_ = nullptr;
    size_t bytes_ = 0;
    allocator from_;
};

}  // namespace ss1
