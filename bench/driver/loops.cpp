// SPDX-License-Identifier: Apache-2.0
#include "driver/loops.hpp"

#include <cstring>

#include "driver/arrays.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(SANITIZED)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES  // clones are chosen before the sanitizers are ready, which crashes
#endif

namespace ss1::bench {
namespace {

// Vectors of 8: rotations are multiples of 8, so no vector wraps around within a block.
constexpr size_t width = 8;
typedef float floats __attribute__((vector_size(width * sizeof(float))));
typedef uint32_t words __attribute__((vector_size(width * sizeof(uint32_t))));
typedef uint16_t halves __attribute__((vector_size(width * sizeof(uint16_t))));

#define INLINE \
    [[gnu::always_inline]] inline  // inlined into the clones, so that it is compiled for their instruction sets

INLINE void load(const float *x, floats &v) {
    std::memcpy(&v, x, sizeof v);
}
INLINE void load(const uint16_t *x, floats &v) {
    halves h;
    std::memcpy(&h, x, sizeof h);
    const words w = __builtin_convertvector(h, words) << 16;
    std::memcpy(&v, &w, sizeof v);
}

INLINE void store(const floats &v, float *s) {
    std::memcpy(s, &v, sizeof v);
}
INLINE void store(const floats &v, uint16_t *s) {
    words w;
    std::memcpy(&w, &v, sizeof w);
    const halves h = __builtin_convertvector((w + 0x7FFF + (w >> 16 & 1)) >> 16, halves);
    std::memcpy(s, &h, sizeof h);
}

template <class X, class S>
INLINE void sketch_group(const sketch_plan &plan, size_t c, const X *x, S *s) {
    const size_t block_k = plan.block_k, *rotations = plan.rotations.data();
    for (size_t t = 0; t < block_k; t += width) {
        floats sum, more;
        load(x + t, sum);
        for (size_t q = 1; q < c; ++q) {
            load(x + q * block_k + ((t + rotations[q]) & (block_k - 1)), more);  // block_k is a power of two
            sum += more;
        }
        store(sum, s + t);
    }
}

template <class X, class S>
INLINE void sketch_row(const sketch_plan &plan, size_t c, const X *x, X *tail, S *s) {
    const size_t span = c * plan.block_k;
    for (size_t g = 0; g < plan.groups; ++g) {
        const X *group = x + g * span;
        if ((g + 1) * span > plan.k) {  // K ends in this group: values beyond it stay zero in `tail`
            std::memcpy(tail, group, (plan.k - g * span) * sizeof(X));
            group = tail;
        }
        sketch_group(plan, c, group, s + g * plan.block_k);
    }
}

// A constant c makes the sum over q straight-line code.
template <class X, class S>
INLINE void any_row(const sketch_plan &plan, const X *x, X *tail, S *s) {
    switch (plan.rotations.size()) {
        case 2:
            return sketch_row(plan, 2, x, tail, s);
        case 4:
            return sketch_row(plan, 4, x, tail, s);
        case 8:
            return sketch_row(plan, 8, x, tail, s);
        default:
            return sketch_row(plan, plan.rotations.size(), x, tail, s);
    }
}

// One function per pair of types: templates cannot be cloned.
CLONES void row(const sketch_plan &plan, const float *x, float *tail, float *s) {
    any_row(plan, x, tail, s);
}
CLONES void row(const sketch_plan &plan, const uint16_t *x, uint16_t *tail, uint16_t *s) {
    any_row(plan, x, tail, s);
}
CLONES void row(const sketch_plan &plan, const uint16_t *x, uint16_t *tail, float *s) {
    any_row(plan, x, tail, s);
}

// The conversion truncates, which with + 0.5 rounds positive values. The scale keeps all values in 1..255.
CLONES void quantise(const float *__restrict sums, size_t count, float inverse_scale, uint8_t *__restrict s) {
    for (size_t i = 0; i < count; ++i)
        s[i] = static_cast<uint8_t>(static_cast<int32_t>(sums[i] * inverse_scale + 128.5f));
}

template <class X, class S>
void rows(const sketch_plan &plan, const X *x, size_t m, S *s, [[maybe_unused]] uint32_t threads) {
    const size_t columns = plan.columns(), span = plan.rotations.size() * plan.block_k;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<X> tail(plan.k % span ? span : 0);
#pragma omp for schedule(static)
        for (size_t i = 0; i < m; ++i) row(plan, x + i * plan.k, tail.data(), s + i * columns);
    }
}

template <class X>
void quantised_rows(const sketch_plan &plan, const X *x, size_t m, uint8_t *s, float scale,
                    [[maybe_unused]] uint32_t threads) {
    const size_t columns = plan.columns(), span = plan.rotations.size() * plan.block_k;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<X> tail(plan.k % span ? span : 0);
        std::vector<float> sums(columns);
#pragma omp for schedule(static)
        for (size_t i = 0; i < m; ++i) {
            row(plan, x + i * plan.k, tail.data(), sums.data());
            quantise(sums.data(), columns, 1 / scale, s + i * columns);
        }
    }
}

CLONES float dot(const float *a, const float *b, size_t k) {
    floats sums[4] = {}, u, v;
    size_t i = 0;
    for (; i + 4 * width <= k; i += 4 * width)
        for (size_t part = 0; part < 4; ++part) {
            load(a + i + part * width, u);
            load(b + i + part * width, v);
            sums[part] += u * v;
        }
    double total = 0;
    for (; i < k; ++i) total += static_cast<double>(a[i]) * b[i];
    for (const floats &sum : sums)
        for (size_t lane = 0; lane < width; ++lane) total += sum[lane];
    return static_cast<float>(total);
}

}  // namespace

void dense_reference(const float *x, const float *weight, const float *bias, size_t m, size_t k, size_t n, float *y) {
    for (size_t j = 0; j < n; ++j)  // a row of the weights stays in L1 for all rows of x
        for (size_t i = 0; i < m; ++i) y[i * n + j] = dot(x + i * k, weight + j * k, k) + bias[j];
}

void sketch(const sketch_plan &plan, const float *x, size_t m, float *s, uint32_t threads) {
    rows(plan, x, m, s, threads);
}

void sketch(const sketch_plan &plan, const uint16_t *x, size_t m, uint16_t *s, uint32_t threads) {
    rows(plan, x, m, s, threads);
}

void sketch(const sketch_plan &plan, const float *x, size_t m, uint8_t *s, float scale, uint32_t threads) {
    quantised_rows(plan, x, m, s, scale, threads);
}

void sketch(const sketch_plan &plan, const uint16_t *x, size_t m, uint8_t *s, float scale, uint32_t threads) {
    quantised_rows(plan, x, m, s, scale, threads);
}

}  // namespace ss1::bench
