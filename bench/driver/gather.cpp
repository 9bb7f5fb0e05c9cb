// SPDX-License-Identifier: Apache-2.0
#include "driver/gather.hpp"

#include <algorithm>
#include <cstring>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(SANITIZED)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES  // clones are chosen before the sanitizers are ready, which crashes
#endif

namespace ss1::bench {
namespace {

constexpr size_t line = 64;
typedef uint64_t words __attribute__((vector_size(line)));

// Reads a row line by line from its begin, and its last bytes word by word.
CLONES uint64_t gather_range(const row_gather &rows, size_t begin, size_t end) {
    // The bags use the same distance (simd/hwy/bag_hwy.cpp).
    const size_t bytes = rows.row_bytes;
    const size_t distance = bytes <= 512 ? std::clamp<size_t>(4096 / bytes, 16, 64) : bytes < 2048 ? 8192 / bytes : 4;
    words sum = {};
    uint64_t rest = 0;
    for (size_t p = begin; p < end; ++p) {
        if (p + distance < end) {
            const unsigned char *coming = rows.table + static_cast<size_t>(rows.indices[p + distance]) * rows.row_bytes;
            const unsigned char *stop = coming + rows.row_bytes;
            for (coming -= reinterpret_cast<uintptr_t>(coming) % line; coming < stop; coming += line)
                __builtin_prefetch(coming);
        }
        const unsigned char *row = rows.table + static_cast<size_t>(rows.indices[p]) * rows.row_bytes;
        size_t i = 0;
        for (words v; i + line <= rows.row_bytes; i += line) {
            std::memcpy(&v, row + i, line);
            sum += v;
        }
        for (uint32_t v; i + sizeof v <= rows.row_bytes; i += sizeof v) {
            std::memcpy(&v, row + i, sizeof v);
            rest += v;
        }
    }
    for (size_t i = 0; i < line / sizeof(uint64_t); ++i) rest += sum[i];
    return rest;
}

}  // namespace

uint64_t gather_rows(const row_gather &rows, uint32_t threads) {
    uint64_t sum = 0;
    [[maybe_unused]] const auto team = static_cast<int>(threads);
#pragma omp parallel for num_threads(team) if (threads > 1) reduction(+ : sum)
    for (uint32_t i = 0; i < threads; ++i)
        sum += gather_range(rows, rows.count * i / threads, rows.count * (i + 1) / threads);
    return sum;
}

}  // namespace ss1::bench
