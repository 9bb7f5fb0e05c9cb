// SPDX-License-Identifier: Apache-2.0
// The CUDA backend in f32: our sketch kernel, cuBLAS for the product. x and y may be host or device memory. Host memory
// is copied, and the call then returns when y is complete. With device memory the call returns once the work is queued
// on args.stream. It links nothing of libss1: what it needs of the core comes from the host table, or is compiled in
// (src/mapping).
#include "ss1/backend.h"

#include <cublas_v2.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "linear.hpp"
#include "mapping/mapping.hpp"
#include "mapping/pack_order.hpp"

namespace ss1::cuda {
namespace {

const ss1_backend_host *host;

ss1_status fail(ss1_status status, const std::string &message) {
    return host->fail(status, ("cuda: " + message).c_str());
}

#define SS1_CUDA(call)                                                                                    \
    do {                                                                                                  \
        if (const cudaError_t error = (call); error != cudaSuccess)                                       \
            return fail(error == cudaErrorMemoryAllocation ? SS1_ERROR_OUT_OF_MEMORY : SS1_ERROR_BACKEND, \
                        std::string(#call " gave ") + cudaGetErrorString(error));                         \
    } while (0)

// Device memory that lives in stream order.
class device_buffer {
  public:
    device_buffer() = default;
    device_buffer(const device_buffer &) = delete;
    device_buffer &operator=(const device_buffer &) = delete;
    ~device_buffer() {
        if (data_) cudaFreeAsync(data_, stream_);
    }
    cudaError_t allocate(size_t bytes, cudaStream_t stream) {
        stream_ = stream;
        return bytes ? cudaMallocAsync(&data_, bytes, stream) : cudaSuccess;
    }
    template <class T>
    T *as() const {
        return static_cast<T *>(data_);
    }

  private:
    void *data_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

struct layer {
    explicit layer(const ss1_linear_desc &desc) : map(desc) {}
    mapping map;
    int device = 0;
    size_t n_sketches = 0;
    tiling tiles{};  // one tile an output block: the packed tiles are row-major [Kz, nt] matrices
    size_t weight_bytes = 0;
    device_buffer packed, bias, entries;
};

// Makes a device the thread's current one, and restores the one before.
class device_scope {
  public:
    explicit device_scope(int device) : status_(cudaGetDevice(&before_)) {
        if (status_ == cudaSuccess && before_ != device) status_ = cudaSetDevice(device);
    }
    ~device_scope() {
        if (before_ >= 0) cudaSetDevice(before_);
    }
    device_scope(const device_scope &) = delete;
    device_scope &operator=(const device_scope &) = delete;
    cudaError_t status() const { return status_; }

  private:
    int before_ = -1;
    cudaError_t status_;
};

// A cuBLAS handle belongs to one thread and the device it was made on.
cublasHandle_t handle_of_thread(int device) {
    struct holder {
        std::vector<std::pair<int, cublasHandle_t>> handles;
        ~holder() {
            for (auto &h : handles) cublasDestroy(h.second);
        }
    };
    thread_local holder mine;
    for (auto &h : mine.handles)
        if (h.first == device) return h.second;
    cublasHandle_t handle = nullptr;
    if (cublasCreate(&handle) != CUBLAS_STATUS_SUCCESS) return nullptr;
    mine.handles.emplace_back(device, handle);
    return handle;
}

bool on_device(const void *pointer) {
    cudaPointerAttributes attributes{};
    return cudaPointerGetAttributes(&attributes, pointer) == cudaSuccess && attributes.type != cudaMemoryTypeHost &&
           attributes.type != cudaMemoryTypeUnregistered;
}

int score(const char **reason) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    *reason = error != cudaSuccess ? cudaGetErrorString(error) : "no CUDA device";
    return error == cudaSuccess && count > 0 ? 100 : 0;
}

template <class T>
cudaError_t upload(const T *values, size_t count, device_buffer &to) {
    if (const cudaError_t error = to.allocate(count * sizeof(T), nullptr); error != cudaSuccess) return error;
    return cudaMemcpy(to.as<T>(), values, count * sizeof(T), cudaMemcpyHostToDevice);
}

int supports(const ss1_linear_desc *desc, int residual, size_t parts, const char **reason) {
    *reason = "the CUDA backend runs f32 alone";
    if (desc->x_dtype != SS1_DTYPE_F32 || desc->y_dtype != SS1_DTYPE_F32 || desc->weight_dtype != SS1_DTYPE_F32)
        return 0;
    *reason = "the CUDA backend adds no residual and stacks no layers";
    return !residual && parts == 1;
}

ss1_status layer_create_checked(const ss1_context *context, const ss1_linear_desc &desc,
                                const ss1_linear_weights &weights, void **state) {
    ss1_info info = SS1_INFO_INIT;
    if (const ss1_status status = host->get_info(context, &info); status != SS1_OK) return status;
    auto l = std::make_unique<layer>(desc);
    l->device = info.device;
    const device_scope device(l->device);
    SS1_CUDA(device.status());
    const mapping &map = l->map;
    const bool factorised = desc.scheme == SS1_SCHEME_REFERENCE || desc.c == 1;
    l->n_sketches = desc.c == 1 ? 0 : factorised ? 1 : map.output_blocks();
    const size_t width = factorised ? desc.N : std::min<size_t>(desc.block_n, desc.N);
    l->tiles = {desc.N, width, width};
    std::vector<float> packed(l->tiles.tiles() * map.stored_columns * width);
    pack_stored(map, weights.z, weights.ldz, l->tiles, {dtype::f32, static_cast<uint32_t>(width), 1},
                map.stored_columns, {packed.data(), nullptr, nullptr});
    std::vector<sketch_entry> entries;
    for (size_t j = 0; j < l->n_sketches; ++j)
        for (size_t g = 0; g < map.groups(); ++g)
            for (size_t q = 0; q < desc.c; ++q)
                entries.push_back(factorised ? sketch_entry{static_cast<uint16_t>(map.rho(q)), 0} : map.entry(j, g, q));
    SS1_CUDA(upload(packed.data(), packed.size(), l->packed));
    SS1_CUDA(upload(entries.data(), entries.size(), l->entries));
    if (weights.bias) SS1_CUDA(upload(weights.bias, desc.N, l->bias));
    l->weight_bytes = packed.size() * sizeof(float) + entries.size() * sizeof(sketch_entry) +
                      (weights.bias ? desc.N * sizeof(float) : 0);
    *state = l.release();
    return SS1_OK;
}

ss1_status layer_create(const ss1_context *context, const ss1_linear_desc *desc, size_t /*parts: 1*/,
                        const ss1_linear_weights *weights, void **state) noexcept {
    try {
        return layer_create_checked(context, *desc, *weights, state);
    } catch (const std::bad_alloc &) {
        return host->fail(SS1_ERROR_OUT_OF_MEMORY, "cuda: no host memory to pack the weights");
    }
}

size_t layer_scratch(const void *, size_t) {
    return 0;
}  // device scratch comes from the stream's pool

// y = x . W for one output block after the other, all on the device.
ss1_status multiply(const layer &l, const float *x, size_t ldx, float *y, size_t ldy, size_t m, cudaStream_t stream) {
    const mapping &map = l.map;
    const size_t kz = map.stored_columns, groups = map.groups();
    if (std::max({m, map.desc.N, kz, ldx, ldy}) > INT_MAX)
        return fail(SS1_ERROR_UNSUPPORTED, "cuBLAS counts in int: m=" + std::to_string(m) +
                                               ", ldx=" + std::to_string(ldx) + ", ldy=" + std::to_string(ldy) +
                                               ", Kz=" + std::to_string(kz) + ", N=" + std::to_string(map.desc.N) +
                                               " must all be below 2^31");
    cublasHandle_t handle = handle_of_thread(l.device);
    if (!handle || cublasSetStream(handle, stream) != CUBLAS_STATUS_SUCCESS)
        return fail(SS1_ERROR_BACKEND, "cuBLAS cannot start");
    device_buffer sketched;
    if (l.n_sketches) SS1_CUDA(sketched.allocate(m * kz * sizeof(float), stream));
    for (size_t tile = 0; tile < l.tiles.tiles(); ++tile) {
        const float *a = x;
        size_t lda = ldx;
        if (l.n_sketches) {
            const sketch_entry *entries = l.entries.as<sketch_entry>() + tile * groups * map.desc.c;
            SS1_CUDA(sketch({.x = x,
                             .s = sketched.as<float>(),
                             .entries = entries,
                             .m = m,
                             .k = map.desc.K,
                             .ldx = ldx,
                             .lds = kz,
                             .block_k = map.desc.block_k,
                             .c = map.desc.c,
                             .groups = groups,
                             .sketches = 1,
                             .sketch_stride = 0},
                            stream));
            a = sketched.as<float>();
            lda = kz;
        }
        const size_t n0 = l.tiles.first_column(tile), n = l.tiles.end_column(tile + 1) - n0;
        const float one = 1, zero = 0;
        // Row-major y = a . b is column-major y^T = b^T . a^T.
        const cublasStatus_t status =
            cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, static_cast<int>(n), static_cast<int>(m),
                        static_cast<int>(kz), &one, l.packed.as<float>() + tile * kz * l.tiles.nt,
                        static_cast<int>(l.tiles.nt), a, static_cast<int>(lda), &zero, y + n0, static_cast<int>(ldy));
        if (status != CUBLAS_STATUS_SUCCESS)
            return fail(SS1_ERROR_BACKEND, std::string("cublasSgemm gave ") + cublasGetStatusString(status));
    }
    SS1_CUDA(finish(static_cast<activation>(map.desc.activation), l.bias.as<float>(), y, m, map.desc.N, ldy, stream));
    return SS1_OK;
}

ss1_status layer_run_checked(const void *state, const ss1_linear_args *args) {
    const layer &l = *static_cast<const layer *>(state);
    const size_t K = l.map.desc.K, N = l.map.desc.N, m = args->m;
    const auto stream = static_cast<cudaStream_t>(args->stream);
    const device_scope device(l.device);
    SS1_CUDA(device.status());
    const float *x = static_cast<const float *>(args->x);
    float *y = static_cast<float *>(args->y);
    const bool copy_x = !on_device(x), copy_y = !on_device(y);
    size_t ldx = args->ldx, ldy = args->ldy;
    device_buffer x_device, y_device;
    if (copy_x) {
        SS1_CUDA(x_device.allocate(m * K * sizeof(float), stream));
        SS1_CUDA(cudaMemcpy2DAsync(x_device.as<float>(), K * sizeof(float), x, ldx * sizeof(float), K * sizeof(float),
                                   m, cudaMemcpyHostToDevice, stream));
        x = x_device.as<float>();
        ldx = K;
    }
    if (copy_y) {
        SS1_CUDA(y_device.allocate(m * N * sizeof(float), stream));
        ldy = N;
    }
    if (const ss1_status status = multiply(l, x, ldx, copy_y ? y_device.as<float>() : y, ldy, m, stream);
        status != SS1_OK)
        return status;
    if (copy_y)
        SS1_CUDA(cudaMemcpy2DAsync(y, args->ldy * sizeof(float), y_device.as<float>(), N * sizeof(float),
                                   N * sizeof(float), m, cudaMemcpyDeviceToHost, stream));
    if (copy_x || copy_y) SS1_CUDA(cudaStreamSynchronize(stream));
    return SS1_OK;
}

ss1_status layer_run(const void *state, const ss1_linear_args *args) noexcept {
    try {
        return layer_run_checked(state, args);
    } catch (const std::bad_alloc &) {
        return host->fail(SS1_ERROR_OUT_OF_MEMORY, "cuda: no host memory for the run");
    }
}

void layer_describe(const void *state, ss1_layer_info *info) {
    const layer &l = *static_cast<const layer *>(state);
    info->kernels = l.n_sketches ? "cuda sketch_f32 cublas_sgemm" : "cuda cublas_sgemm";
    info->weight_bytes = l.weight_bytes;
    info->flops_per_row = 2.0 * static_cast<double>(l.map.stored_columns) * static_cast<double>(l.map.desc.N) +
                          static_cast<double>(l.n_sketches) * static_cast<double>(l.map.desc.K);
}

void layer_destroy(void *state) {
    const layer *l = static_cast<layer *>(state);
    const device_scope device(l->device);  // the stream that frees the weights is the current device's
    delete l;
}

constexpr ss1_backend backend = {.abi = SS1_BACKEND_ABI,
                                 .struct_size = sizeof(ss1_backend),
                                 .name = "cuda",
                                 .score = score,
                                 .supports = supports,
                                 .layer_create = layer_create,
                                 .layer_scratch = layer_scratch,
                                 .layer_run = layer_run,
                                 .layer_describe = layer_describe,
                                 .layer_destroy = layer_destroy};

}  // namespace
}  // namespace ss1::cuda

const ss1_backend *ss1_backend_entry(const ss1_backend_host *given) {
    ss1::cuda::host = given;
    return given->abi == SS1_BACKEND_ABI ? &ss1::cuda::backend : nullptr;
}
