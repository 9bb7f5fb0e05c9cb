// SPDX-License-Identifier: Apache-2.0
// The loops of `ss1-bench linear` that must be fast. The compiler vectorises them at -O3; on x86 it builds them with
// and without AVX2, and the program chooses when it starts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ss1::bench {

// y[m,n] = x[m,k] . weight[n,k]^T + bias[n]
void dense_reference(const float *x, const float *weight, const float *bias, size_t m, size_t k, size_t n, float *y);

// s[i, g*B_K + t] = sum over q < c of x[i, (g*c + q)*B_K + (t + rotations[q]) mod B_K], x is 0 beyond k. Rotations
// are multiples of 8; the first is 0.
struct sketch_plan {
    size_t k, block_k, groups;
    std::vector<size_t> rotations;  // c values

    size_t columns() const { return groups * block_k; }
};

// One pass over x; the threads share the rows. Those with a scale quantise: s = round(sum / scale) + 128.
void sketch(const sketch_plan &plan, const float *x, size_t m, float *s, uint32_t threads);
void sketch(const sketch_plan &plan, const uint16_t *x, size_t m, uint16_t *s, uint32_t threads);
void sketch(const sketch_plan &plan, const float *x, size_t m, uint8_t *s, float scale, uint32_t threads);
void sketch(const sketch_plan &plan, const uint16_t *x, size_t m, uint8_t *s, float scale, uint32_t threads);

}  // namespace ss1::bench
