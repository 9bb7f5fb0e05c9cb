// SPDX-License-Identifier: Apache-2.0
// The memory of a session, and the graphs that replay its runs.
#pragma once
#include <array>
#include <vector>

#include "plugin.hpp"

namespace ss1::cuda {

// Hands out the parts of one block of memory, each at a multiple of 256 bytes. Without a block it only counts.
class carver {
  public:
    explicit carver(void *block = nullptr) : block_(static_cast<char *>(block)) {}

    // [rows, columns] elements of `value` bytes.
    char *take_bytes(size_t rows, size_t columns, size_t value) {
        const size_t begin = used_;
        size_t bytes = 0;
        fits_ = fits_ && !__builtin_mul_overflow(rows, columns, &bytes) &&
                !__builtin_mul_overflow(bytes, value, &bytes) && bytes <= SIZE_MAX / 4 &&
                !__builtin_add_overflow(begin, round_up(bytes, 256), &used_);
        return block_ ? block_ + begin : nullptr;
    }
    template <class T>
    T *take(size_t rows, size_t columns = 1) {
        return reinterpret_cast<T *>(take_bytes(rows, columns, sizeof(T)));
    }

    size_t bytes() const { return used_; }
    bool fits() const { return fits_; }  // false once a size overflowed

  private:
    char *block_;
    size_t used_ = 0;
    bool fits_ = true;
};

// One block of device memory, one of pinned memory, and a stream. A run takes none but for indices of bags.
struct session_memory {
    int device = 0;
    cudaMemPool_t pool = nullptr;
    cudaStream_t stream = nullptr;
    void *on_device = nullptr, *pinned = nullptr;

    session_memory() = default;
    session_memory(const session_memory &) = delete;
    session_memory &operator=(const session_memory &) = delete;
    ~session_memory();
    // The device's memory is set to 0.
    ss1_status allocate(int on, size_t device_bytes, size_t pinned_bytes);
};

// Runs whose work has the same shape queue the same kernels with the same addresses. A shape is run as it is the first
// time, which loads its kernels, captured the second time, and replayed from then on.
class graph_cache {
  public:
    using key = std::array<size_t, 6>;
    graph_cache() = default;
    graph_cache(const graph_cache &) = delete;
    graph_cache &operator=(const graph_cache &) = delete;
    ~graph_cache();

    template <class F>
    ss1_status run(const key &shape, cudaStream_t stream, F &&queue) {
        entry &e = find(shape);
        if (e.runs++ == 0) return queue();
        if (!e.graph) {
            SS1_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
            const ss1_status queued = queue();
            SS1_CHECK_OK(end_capture(e, stream, queued));
        }
        SS1_CUDA(cudaGraphLaunch(e.graph, stream));
        return SS1_OK;
    }

  private:
    static constexpr size_t most = 32;
    struct entry {
        key shape;
        size_t runs, used;  // `used`: when, by clock_
        cudaGraphExec_t graph;
    };
    entry &find(const key &shape);  // makes room for a new one where the least recently used one is
    static ss1_status end_capture(entry &e, cudaStream_t stream, ss1_status queued);

    std::vector<entry> entries_;
    size_t clock_ = 0;
};

}  // namespace ss1::cuda
