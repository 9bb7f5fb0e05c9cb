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

// One block of device memory, one of pinned memory, and a stream. A run takes more for indices of bags
// and for graphs.
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

// Graphs of runs. Two runs of the same shape queue the same kernels with the same addresses. The first run of a shape
// loads its kernels, the second is captured, and later ones replay the graph. What cannot be captured is queued in
// every run.
class graph_cache {
  public:
    using key = std::array<size_t, 5>;
    graph_cache() = default;
    graph_cache(const graph_cache &) = delete;
    graph_cache &operator=(const graph_cache &) = delete;
    ~graph_cache();

    template <class F>
    ss1_status run(const key &shape, cudaStream_t stream, F &&queue) {
        entry &e = find(shape);
        if (e.graph) return check(cudaGraphLaunch(e.graph, stream), "cudaGraphLaunch");
        if (!e.has_run || cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
            cudaGetLastError();
            SS1_CHECK_OK(queue());
            e.has_run = true;
            return SS1_OK;
        }
        const ss1_status queued = queue();
        if (!end_capture(e, stream, queued == SS1_OK)) return queued == SS1_OK ? queue() : queued;
        return check(cudaGraphLaunch(e.graph, stream), "cudaGraphLaunch");
    }

  private:
    static constexpr size_t most = 32;
    struct entry {
        key shape;
        bool has_run;
        size_t used;  // when, by clock_
        cudaGraphExec_t graph;
    };
    entry &find(const key &shape);  // makes room for a new one where the least recently used one is
    // Makes the graph if all was queued. @return whether there is one
    static bool end_capture(entry &e, cudaStream_t stream, bool queued);

    std::vector<entry> entries_;
    size_t clock_ = 0;
};

}  // namespace ss1::cuda
