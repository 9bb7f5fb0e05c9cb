// SPDX-License-Identifier: Apache-2.0
#include "product.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "kernels.hpp"

namespace ss1::cuda {
namespace {

constexpr int max_proposals = 8;

// Returns from the function with the first failure.
#define SS1_LT(call)                                                                                 \
    do {                                                                                             \
        if (const cublasStatus_t status_ = (call); status_ != CUBLAS_STATUS_SUCCESS) return status_; \
    } while (0)

ss1_status check_lt(cublasStatus_t status, const char *call) {
    if (status == CUBLAS_STATUS_SUCCESS) return SS1_OK;
    return fail(SS1_ERROR_BACKEND, std::string(call) + " gave " + cublasLtGetStatusString(status));
}

cudaDataType_t type_of(dtype type) {
    return type == dtype::f32 ? CUDA_R_32F : type == dtype::bf16 ? CUDA_R_16BF : CUDA_R_8I;
}

cudaDataType_t result_of(const product_shape &shape) {
    return shape.operands == dtype::s8 ? CUDA_R_32I : type_of(shape.results);
}

size_t result_bytes(const product_shape &shape) {
    return size_of(shape.results);  // f32 and s32 have the same size
}

// What cuBLASLt asks for in one call. Row-major d = a . w^T is column-major d^T = w . a^T. The parts live on the stack.
struct problem {
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t w, a, d, residual;

    cublasStatus_t set(const product_shape &s, const product_args &args) {
        const bool integer = s.operands == dtype::s8;
        SS1_LT(cublasLtMatmulDescInit(&operation, integer ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                                      integer ? CUDA_R_32I : CUDA_R_32F));
        const cublasOperation_t transposed = CUBLAS_OP_T;
        SS1_LT(cublasLtMatmulDescSetAttribute(&operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
        const cublasLtEpilogue_t epilogue = s.bias ? (s.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS)
                                                   : (s.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT);
        SS1_LT(cublasLtMatmulDescSetAttribute(&operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        if (s.bias) SS1_LT(set_bias(s, args));
        const cudaDataType_t in = type_of(s.operands), out = result_of(s);
        SS1_LT(cublasLtMatrixLayoutInit(&w, in, s.k, s.n, static_cast<int64_t>(s.k)));
        SS1_LT(cublasLtMatrixLayoutInit(&a, in, s.k, args.m, static_cast<int64_t>(s.lda)));
        SS1_LT(cublasLtMatrixLayoutInit(&d, out, s.n, args.m, static_cast<int64_t>(args.ldd)));
        SS1_LT(cublasLtMatrixLayoutInit(&residual, out, s.n, args.m,
                                        static_cast<int64_t>(args.residual ? args.ldr : args.ldd)));
        SS1_LT(set_batch(w, s.batch, s.w_stride));
        SS1_LT(set_batch(a, s.batch, s.a_stride));
        SS1_LT(set_batch(d, s.batch, s.d_stride));
        return set_batch(residual, s.batch, s.d_stride);
    }

  private:
    cublasStatus_t set_bias(const product_shape &s, const product_args &args) {
        const int64_t stride = s.batch > 1 ? static_cast<int64_t>(s.d_stride) : 0;
        SS1_LT(
            cublasLtMatmulDescSetAttribute(&operation, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &stride, sizeof stride));
        return cublasLtMatmulDescSetAttribute(&operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &args.bias,
                                              sizeof args.bias);
    }

    static cublasStatus_t set_batch(cublasLtMatrixLayoutOpaque_t &layout, size_t batch, size_t stride) {
        const auto count = static_cast<int32_t>(batch);
        const auto step = static_cast<int64_t>(stride);
        SS1_LT(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
        return cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step,
                                                sizeof step);
    }
};

cublasStatus_t multiply(cublasLtHandle_t handle, const product_shape &shape, const product_args &args,
                        const cublasLtMatmulAlgo_t &algorithm, cudaStream_t stream) {
    problem p;
    SS1_LT(p.set(shape, args));
    const float one = 1, beta = args.residual ? 1.0f : 0.0f;
    const int32_t integer_one = 1, integer_zero = 0;
    const bool integer = shape.operands == dtype::s8;
    return cublasLtMatmul(handle, &p.operation, integer ? static_cast<const void *>(&integer_one) : &one, args.w, &p.w,
                          args.a, &p.a, integer ? static_cast<const void *>(&integer_zero) : &beta,
                          args.residual ? args.residual : args.d, &p.residual, args.d, &p.d, &algorithm, nullptr, 0,
                          stream);
}

// Asks cuBLASLt for algorithms that need no workspace and do not split the sum over k, best guess first.
cublasStatus_t propose(cublasLtHandle_t handle, const product_shape &shape, const product_args &args,
                       std::vector<cublasLtMatmulAlgo_t> &algorithms) {
    problem p;
    SS1_LT(p.set(shape, args));
    cublasLtMatmulPreferenceOpaque_t preference;
    SS1_LT(cublasLtMatmulPreferenceInit(&preference));
    const uint32_t whole_sums = CUBLASLT_REDUCTION_SCHEME_NONE;
    SS1_LT(cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole_sums,
                                                sizeof whole_sums));
    const size_t no_workspace = 0;
    SS1_LT(cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &no_workspace,
                                                sizeof no_workspace));
    cublasLtMatmulHeuristicResult_t results[max_proposals];
    int found = 0;
    SS1_LT(cublasLtMatmulAlgoGetHeuristic(handle, &p.operation, &p.w, &p.a, &p.residual, &p.d, &preference,
                                          max_proposals, results, &found));
    for (int i = 0; i < found; ++i) algorithms.push_back(results[i].algo);
    return CUBLAS_STATUS_SUCCESS;
}

// Memory and events for timing a shape.
struct bench {
    device_buffer a, w, d, reference, bias, count;
    cudaEvent_t begin = nullptr, end = nullptr;
    ~bench() {
        if (begin) cudaEventDestroy(begin);
        if (end) cudaEventDestroy(end);
    }
};

size_t results_in(const product_shape &s, size_t m) {
    return m * s.d_stride * s.batch;
}

ss1_status prepare(bench &b, const product_shape &s, size_t m, cudaMemPool_t pool, cudaStream_t stream) {
    const size_t a = m * s.lda, w = (s.batch - 1) * s.w_stride + s.n * s.k, d = results_in(s, m),
                 type = size_of(s.operands);
    SS1_CUDA(b.a.allocate(a * type, pool, stream));
    SS1_CUDA(b.w.allocate(w * type, pool, stream));
    SS1_CUDA(b.d.allocate(d * result_bytes(s), pool, stream));
    SS1_CUDA(b.reference.allocate(d * result_bytes(s), pool, stream));
    SS1_CUDA(b.bias.allocate(s.batch * s.d_stride * result_bytes(s), pool, stream));
    SS1_CUDA(b.count.allocate(sizeof(unsigned), pool, stream));
    SS1_CUDA(fill(b.a.as(), a, s.operands, stream));
    SS1_CUDA(fill(b.w.as(), w, s.operands, stream));
    SS1_CUDA(fill(b.d.as(), d, s.results, stream));
    SS1_CUDA(fill(b.bias.as(), s.batch * s.d_stride, s.results, stream));
    SS1_CUDA(cudaEventCreate(&b.begin));
    SS1_CUDA(cudaEventCreate(&b.end));
    return SS1_OK;
}

product_args bench_args(const bench &b, const product_shape &s, size_t m, void *d) {
    const size_t ldd = s.batch * s.d_stride;
    return {m, b.a.as(), b.w.as(), b.bias.as(), nullptr, ldd, d, ldd};
}

// The time of some runs, in ms; nothing if the algorithm gives other bits than the reference, or does not run.
ss1_status time_runs(const bench &b, cublasLtHandle_t handle, const product_shape &s, size_t m,
                     const cublasLtMatmulAlgo_t &algorithm, cudaStream_t stream, std::optional<float> &ms) {
    const product_args args = bench_args(b, s, m, b.d.as());
    ms.reset();
    if (multiply(handle, s, args, algorithm, stream) != CUBLAS_STATUS_SUCCESS) return SS1_OK;
    SS1_CUDA(cudaMemsetAsync(b.count.as(), 0, sizeof(unsigned), stream));
    SS1_CUDA(count_differences(b.d.as(), b.reference.as(), results_in(s, m) * result_bytes(s) / 4,
                               b.count.as<unsigned>(), stream));
    unsigned differ = 0;
    SS1_CUDA(cudaMemcpyAsync(&differ, b.count.as(), sizeof differ, cudaMemcpyDeviceToHost, stream));
    SS1_CUDA(cudaStreamSynchronize(stream));
    if (differ) return SS1_OK;
    SS1_CUDA(cudaEventRecord(b.begin, stream));
    for (int i = 0; i < 5; ++i) SS1_CHECK_OK(check_lt(multiply(handle, s, args, algorithm, stream), "cublasLtMatmul"));
    SS1_CUDA(cudaEventRecord(b.end, stream));
    SS1_CUDA(cudaEventSynchronize(b.end));
    float elapsed = 0;
    SS1_CUDA(cudaEventElapsedTime(&elapsed, b.begin, b.end));
    ms = elapsed;
    return SS1_OK;
}

}  // namespace

cublasLtHandle_t handle_of(int device) {
    static std::mutex mutex;
    static std::map<int, cublasLtHandle_t> handles;  // never destroyed: the driver may end before static objects do
    const std::lock_guard lock(mutex);
    cublasLtHandle_t &handle = handles[device];
    if (!handle && cublasLtCreate(&handle) != CUBLAS_STATUS_SUCCESS) handle = nullptr;
    return handle;
}

namespace {

// The algorithms of one shape on the current device.
ss1_status choose(cublasLtHandle_t handle, cudaMemPool_t pool, const product_shape &shape, size_t max_rows,
                  std::vector<product::choice> &choices) {
    const cudaStream_t stream = cudaStreamPerThread;
    bench b;
    SS1_CHECK_OK(prepare(b, shape, max_rows, pool, stream));
    std::vector<cublasLtMatmulAlgo_t> first;
    SS1_CHECK_OK(check_lt(propose(handle, shape, bench_args(b, shape, max_rows, b.d.as()), first),
                          "cublasLtMatmulAlgoGetHeuristic"));
    if (first.empty())
        return fail(SS1_ERROR_BACKEND,
                    "cuBLASLt has no algorithm for n=" + std::to_string(shape.n) + ", k=" + std::to_string(shape.k));
    SS1_CHECK_OK(check_lt(multiply(handle, shape, bench_args(b, shape, max_rows, b.reference.as()), first[0], stream),
                          "cublasLtMatmul"));
    for (size_t rows = std::min<size_t>(16, max_rows);; rows = std::min(rows * 4, max_rows)) {
        std::vector<cublasLtMatmulAlgo_t> candidates = {first[0]};
        SS1_CHECK_OK(check_lt(propose(handle, shape, bench_args(b, shape, rows, b.d.as()), candidates),
                              "cublasLtMatmulAlgoGetHeuristic"));
        product::choice best{rows, first[0]};
        std::optional<float> best_ms, ms;
        for (const cublasLtMatmulAlgo_t &candidate : candidates) {
            SS1_CHECK_OK(time_runs(b, handle, shape, rows, candidate, stream, ms));
            if (ms && (!best_ms || *ms < *best_ms)) best_ms = ms, best.algorithm = candidate;
        }
        choices.push_back(best);
        if (rows == max_rows) return SS1_OK;
    }
}

}  // namespace

ss1_status product::create(int device, const product_shape &shape, size_t max_rows) {
    struct known {
        int device;
        product_shape shape;
        size_t max_rows;
        std::vector<choice> choices;
    };
    static std::mutex mutex;  // also keeps timings apart
    static std::vector<known> all;
    shape_ = shape;
    handle_ = handle_of(device);
    if (!handle_) return fail(SS1_ERROR_BACKEND, "cuBLASLt cannot start");
    const std::lock_guard lock(mutex);
    for (const known &k : all)
        if (k.device == device && k.shape == shape && k.max_rows == max_rows) {
            choices_ = k.choices;
            return SS1_OK;
        }
    SS1_CHECK_OK(choose(handle_, scratch_pool(device), shape, max_rows, choices_));
    all.push_back({device, shape, max_rows, choices_});
    return SS1_OK;
}

ss1_status product::run(const product_args &args, cudaStream_t stream) const {
    const auto fit =
        std::find_if(choices_.begin(), choices_.end() - 1, [&](const auto &c) { return args.m <= c.max_rows; });
    return check_lt(multiply(handle_, shape_, args, fit->algorithm, stream), "cublasLtMatmul");
}

}  // namespace ss1::cuda
