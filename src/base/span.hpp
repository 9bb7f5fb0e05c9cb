// SPDX-License-Identifier: Apache-2.0
// Checks of the caller's matrices: end addresses, alignment, overlap.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/status.hpp"

namespace ss1 {

struct memory_span {
    uintptr_t begin, end;
};

// Computes the byte range of the matrix [rows, columns] with leading dimension ld, elements of `size` bytes and rows >=
// 1. Fails if its end does not fit the address space.
inline ss1_status matrix_span(const char *name, const void *data, size_t rows, size_t columns, size_t ld,
                              memory_span &span, size_t size = sizeof(float)) noexcept {
    const auto address = reinterpret_cast<uintptr_t>(data);
    size_t elements = 0, bytes = 0;
    SS1_CHECK(!__builtin_mul_overflow(rows - 1, ld, &elements) &&
                  !__builtin_add_overflow(elements, columns, &elements) &&
                  !__builtin_mul_overflow(elements, size, &bytes) && !__builtin_add_overflow(address, bytes, &span.end),
              SS1_ERROR_INVALID_ARGUMENT, "%s: %zu rows of %zu elements do not fit the address space", name, rows, ld);
    SS1_CHECK(address % size == 0, SS1_ERROR_INVALID_ARGUMENT, "%s=%p is not aligned to %zu bytes", name, data, size);
    span.begin = address;
    return SS1_OK;
}

inline ss1_status check_apart(const char *written, const memory_span &out, const char *read,
                              const memory_span &in) noexcept {
    SS1_CHECK(out.end <= in.begin || in.end <= out.begin, SS1_ERROR_INVALID_ARGUMENT, "%s=%p overlaps %s=%p", written,
              reinterpret_cast<const void *>(out.begin), read, reinterpret_cast<const void *>(in.begin));
    return SS1_OK;
}

}  // namespace ss1
