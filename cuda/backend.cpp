// SPDX-License-Identifier: Apache-2.0
// The plugin's table. It links nothing of libss1: what it needs of the core comes from the host table, or is compiled
// in (src/mapping, and the readers of config.json).
#include "ss1/backend.h"

#include <map>
#include <mutex>

#include "layer.hpp"
#include "model.hpp"
#include "plugin.hpp"

namespace ss1::cuda {

const ss1_backend_host *host;

cudaMemPool_t scratch_pool(int device) {
    static std::mutex mutex;
    static std::map<int, cudaMemPool_t> pools;  // never destroyed: the driver may end before static objects do
    const std::lock_guard lock(mutex);
    cudaMemPool_t &pool = pools[device];
    if (pool) return pool;
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    uint64_t keep = UINT64_MAX;
    if (cudaMemPoolCreate(&pool, &properties) != cudaSuccess) {
        cudaGetLastError();
        return pool = nullptr;
    }
    cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);
    return pool;
}

cudaMemPool_t weight_pool(int device) {
    cudaMemPool_t pool = nullptr;
    if (cudaDeviceGetDefaultMemPool(&pool, device) == cudaSuccess) return pool;
    cudaGetLastError();
    return nullptr;
}

ss1_status upload(const void *bytes, size_t n, cudaMemPool_t pool, device_buffer &to) {
    SS1_CUDA(to.allocate(n, pool, cudaStreamPerThread));
    SS1_CUDA(cudaMemcpyAsync(to.as(), bytes, n, cudaMemcpyHostToDevice, cudaStreamPerThread));
    SS1_CUDA(cudaStreamSynchronize(cudaStreamPerThread));
    return SS1_OK;
}

namespace {

int score(const char **reason) noexcept {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    *reason = error != cudaSuccess ? cudaGetErrorString(error) : "no CUDA device";
    return error == cudaSuccess && count > 0 ? 100 : 0;
}

constexpr ss1_backend backend = {.abi = SS1_BACKEND_ABI,
                                 .struct_size = sizeof(ss1_backend),
                                 .name = "cuda",
                                 .score = score,
                                 .supports = layer_supports,
                                 .layer_create = layer_create,
                                 .layer_scratch = layer_scratch,
                                 .layer_run = layer_run,
                                 .layer_describe = layer_describe,
                                 .layer_destroy = layer_destroy,
                                 .model_create = model_create,
                                 .model_describe = model_describe,
                                 .model_layer = model_layer,
                                 .model_destroy = model_destroy,
                                 .session_bytes = session_bytes,
                                 .session_create = session_create,
                                 .session_run = session_run,
                                 .session_destroy = session_destroy};

}  // namespace
}  // namespace ss1::cuda

const ss1_backend *ss1_backend_entry(const ss1_backend_host *given) {
    ss1::cuda::host = given;
    return given->abi == SS1_BACKEND_ABI ? &ss1::cuda::backend : nullptr;
}
