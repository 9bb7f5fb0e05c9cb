// SPDX-License-Identifier: Apache-2.0
// OpenBLAS: sgemm with the bias laid out in y beforehand (there is no fused bias), sgemv where one side is a vector.
// It packs the weights anew in each call: it has no other way. Opened at run time, so no header is needed.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "peer.h"
#include "ss1/ss1.h"

namespace {

constexpr int row_major = 101, no_transpose = 111, transpose = 112;  // CBLAS

struct library {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                  float beta, float *y, int incy);
    void (*set_num_threads)(int threads);
    char *(*get_config)();
    char *(*get_corename)();
} blas;

template <class function>
bool find(void *opened, const char *symbol, function &found) {
    found = reinterpret_cast<function>(dlsym(opened, symbol));
    return found != nullptr;
}

bool open_library(char *why, size_t why_bytes) {
    void *opened = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    const bool complete = opened && find(opened, "cblas_sgemm", blas.sgemm) &&
                          find(opened, "cblas_sgemv", blas.sgemv) &&
                          find(opened, "openblas_set_num_threads", blas.set_num_threads) &&
                          find(opened, "openblas_get_config", blas.get_config) &&
                          find(opened, "openblas_get_corename", blas.get_corename);
    if (!complete) std::snprintf(why, why_bytes, "%s (Debian: libopenblas0-pthread)", dlerror());
    return complete;
}

struct free_memory {
    void operator()(float *p) const { std::free(p); }
};
using aligned_floats = std::unique_ptr<float, free_memory>;

// At cache lines: a load across two of them costs sgemv up to half of its speed.
aligned_floats aligned_copy(const void *source, size_t count) {
    const size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    aligned_floats copy(static_cast<float *>(std::aligned_alloc(64, bytes)));
    if (copy) std::memcpy(copy.get(), source, count * sizeof(float));
    return copy;
}

struct layer {
    ss1_peer_problem problem;
    std::vector<aligned_floats> weights;
    std::vector<float> bias;
};

void *create(const ss1_peer_problem *p, char *why, size_t why_bytes) {
    if (p->precision != SS1_PEER_F32 || p->output != SS1_PEER_TO_F32 || p->activation != SS1_ACTIVATION_NONE) {
        std::snprintf(why, why_bytes, "f32 without activation only");
        return nullptr;
    }
    blas.set_num_threads(static_cast<int>(p->threads));
    auto l = std::make_unique<layer>(layer{*p, {}, std::vector<float>(p->bias, p->bias + p->n)});
    for (size_t i = 0; i < p->copies; ++i) {
        l->weights.push_back(aligned_copy(p->weight, p->n * p->k));
        if (l->weights.back()) continue;
        std::snprintf(why, why_bytes, "out of memory for %zu copies of the weights", p->copies);
        return nullptr;
    }
    return l.release();
}

int run(void *handle, size_t copy) {
    const layer &l = *static_cast<layer *>(handle);
    const ss1_peer_problem &p = l.problem;
    const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), k = static_cast<int>(p.k);
    const float *x = static_cast<const float *>(p.x), *weight = l.weights[copy].get();
    float *y = static_cast<float *>(p.y);
    for (size_t i = 0; i < p.m; ++i) std::memcpy(y + i * p.n, l.bias.data(), p.n * sizeof(float));
    if (m == 1)
        blas.sgemv(row_major, no_transpose, n, k, 1, weight, k, x, 1, 1, y, 1);
    else if (n == 1)
        blas.sgemv(row_major, no_transpose, m, k, 1, x, k, weight, 1, 1, y, 1);
    else
        blas.sgemm(row_major, no_transpose, transpose, m, n, k, 1, x, k, weight, k, 1, y, n);
    return 0;
}

void destroy(void *handle) {
    delete static_cast<layer *>(handle);
}

}  // namespace

SS1_PEER_EXPORT const ss1_peer *ss1_peer_entry(char *why, size_t why_bytes) {
    if (!open_library(why, why_bytes)) return nullptr;
    // "OpenBLAS 0.3.21 NO_LAPACKE ...": the second word. The core name tells which kernels it chose.
    static char version[64];
    char number[32] = "?";
    std::sscanf(blas.get_config(), "%*s %31s", number);
    std::snprintf(version, sizeof version, "%s %s", number, blas.get_corename());
    static const ss1_peer peer = {SS1_PEER_ABI, "OpenBLAS", version, 0, create, run, destroy};
    return &peer;
}
