// SPDX-License-Identifier: Apache-2.0
// What all files of the plugin share: errors, the current device, device memory.
#pragma once
#include <cuda_runtime.h>

#include <cstring>
#include <string>

#include "base/round.hpp"
#include "ss1/backend.h"

namespace ss1::cuda {

extern const ss1_backend_host *host;  // set by ss1_backend_entry()

inline ss1_status fail(ss1_status status, const std::string &message) {
    return host->fail(status, ("cuda: " + message).c_str());
}

// The error of `call`, of which the function's name is shown. CUDA forgets the error: else the launch that follows it
// on this thread, maybe of another session, would report it again.
inline ss1_status check(cudaError_t error, const char *call) {
    if (error == cudaSuccess) return SS1_OK;
    cudaGetLastError();
    return fail(error == cudaErrorMemoryAllocation ? SS1_ERROR_OUT_OF_MEMORY : SS1_ERROR_BACKEND,
                std::string(call, std::strcspn(call, "(")) + " gave " + cudaGetErrorString(error));
}

// Returns from the function with the first failure.
#define SS1_CHECK_OK(call)                                                        \
    do {                                                                          \
        if (const ss1_status status_ = (call); status_ != SS1_OK) return status_; \
    } while (0)
#define SS1_CUDA(call) SS1_CHECK_OK(check((call), #call))

// Makes a device the thread's current one, and restores the one before.
class device_scope {
  public:
    explicit device_scope(int device) : status_(cudaGetDevice(&before_)) {
        changes_ = status_ == cudaSuccess && before_ != device;
        if (changes_) status_ = cudaSetDevice(device);
    }
    ~device_scope() {
        if (changes_) cudaSetDevice(before_);
    }
    device_scope(const device_scope &) = delete;
    device_scope &operator=(const device_scope &) = delete;
    cudaError_t status() const { return status_; }

  private:
    int before_ = -1;
    bool changes_ = false;
    cudaError_t status_;
};

// The pool that scratch comes from. It never gives memory back, so a run takes none from the driver once it has run
// with as many rows. @return NULL if it cannot be made
cudaMemPool_t scratch_pool(int device);

// The pool that weights and tables come from: the device's own, which gives back what is freed. @return NULL if there
// is none
cudaMemPool_t weight_pool(int device);

// Memory of the current device. It lives in the order of its stream.
class device_buffer {
  public:
    device_buffer() = default;
    device_buffer(const device_buffer &) = delete;
    device_buffer &operator=(const device_buffer &) = delete;
    ~device_buffer() {
        if (data_) cudaFreeAsync(data_, stream_);
    }
    // Call it once.
    cudaError_t allocate(size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
        stream_ = stream;
        return bytes ? cudaMallocFromPoolAsync(&data_, bytes, pool, stream) : cudaSuccess;
    }
    template <class T = void>
    T *as() const {
        return static_cast<T *>(data_);
    }

  private:
    void *data_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

// Copies bytes to new memory of the current device, which is complete on return.
ss1_status upload(const void *bytes, size_t n, cudaMemPool_t pool, device_buffer &to);

}  // namespace ss1::cuda
