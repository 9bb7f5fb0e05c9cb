// SPDX-License-Identifier: Apache-2.0
#include "recommend.hpp"

#include <algorithm>

#include "device_math.hpp"

namespace ss1::cuda {
namespace {

constexpr unsigned threads = 128;

// The bytes of a value that lies anywhere.
__device__ float float_at(const uint8_t *p) {
    return __uint_as_float(p[0] | p[1] << 8 | p[2] << 16 | unsigned{p[3]} << 24);
}
__device__ float half_at(const uint8_t *p) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(p[0] | p[1] << 8)));
}

// Reads value j of a row of d values.
__device__ float value_at(row_format format, const uint8_t *row, size_t j, size_t d) {
    switch (format) {
        case row_format::f32:
            return reinterpret_cast<const float *>(row)[j];
        case row_format::bf16:
            return to_f32(reinterpret_cast<const bf16 *>(row)[j]);
        case row_format::f16:
            return to_f32(reinterpret_cast<const __half *>(row)[j]);
        case row_format::int8:
            return float_at(row + d) * static_cast<float>(row[j]) + float_at(row + d + 4);
        default: {
            const uint8_t *scale = row + (d + 1) / 2;
            return half_at(scale) * static_cast<float>(row[j / 2] >> (j % 2 * 4) & 15) + half_at(scale + 2);
        }
    }
}

// Reads values j .. j + 3, for j and d that are multiples of 4: every row then lies at a multiple of 2, and of 4 but
// for int4.
__device__ float4 four_at(row_format format, const uint8_t *row, size_t j, size_t d) {
    switch (format) {
        case row_format::f32:
            return reinterpret_cast<const float4 *>(row)[j / 4];
        case row_format::bf16: {
            const uint2 words = reinterpret_cast<const uint2 *>(row)[j / 4];
            return {__uint_as_float(words.x << 16), __uint_as_float(words.x & 0xffff0000u),
                    __uint_as_float(words.y << 16), __uint_as_float(words.y & 0xffff0000u)};
        }
        case row_format::f16: {
            const uint2 words = reinterpret_cast<const uint2 *>(row)[j / 4];
            const float2 low = __half22float2(*reinterpret_cast<const __half2 *>(&words.x)),
                         high = __half22float2(*reinterpret_cast<const __half2 *>(&words.y));
            return {low.x, low.y, high.x, high.y};
        }
        case row_format::int8: {
            const uchar4 q = reinterpret_cast<const uchar4 *>(row)[j / 4];
            const float2 by = {reinterpret_cast<const float *>(row + d)[0],
                               reinterpret_cast<const float *>(row + d)[1]};
            return {by.x * q.x + by.y, by.x * q.y + by.y, by.x * q.z + by.y, by.x * q.w + by.y};
        }
        default: {
            const unsigned q = reinterpret_cast<const unsigned short *>(row)[j / 4];
            const __half *scale = reinterpret_cast<const __half *>(row + d / 2);
            const float by = to_f32(scale[0]), bias = to_f32(scale[1]);
            return {by * static_cast<float>(q & 15) + bias, by * static_cast<float>(q >> 4 & 15) + bias,
                    by * static_cast<float>(q >> 8 & 15) + bias, by * static_cast<float>(q >> 12) + bias};
        }
    }
}

// The indices of bag i of all bags, and whether its offsets are right.
struct bag_range {
    int64_t begin, end;
    bool good;
};

__device__ bag_range range_of(const bags_args &a, size_t i) {
    const int64_t total = static_cast<int64_t>(a.total), begin = a.offsets[i],
                  end = i + 1 < a.n_tables * a.batch ? a.offsets[i + 1] : total;
    const bool good = begin >= 0 && begin <= end && end <= total && (i > 0 || begin == 0);
    return good ? bag_range{begin, end, true} : bag_range{0, 0, false};
}

// `lanes` threads sum a bag, each every lanes-th group of W values.
template <unsigned W>
__global__ void __launch_bounds__(threads) bags_kernel(bags_args a, unsigned lanes) {
    const size_t at = size_t{blockIdx.x} * threads + threadIdx.x, t = blockIdx.y, b = at / lanes;
    if (b >= a.m) return;
    const device_table table = a.tables[t];
    const bag_range bag = range_of(a, t * a.batch + a.b0 + b);
    bool good = bag.good;
    float *y = a.y + b * a.ldy + table.number * a.d;
    const float divisor = table.mean && bag.begin < bag.end ? static_cast<float>(bag.end - bag.begin) : 1;
    for (size_t j = at % lanes * W; j < a.d; j += lanes * W) {
        float sum[W] = {};
#pragma unroll 4
        for (int64_t p = bag.begin; p < bag.end; ++p) {
            const uint64_t index = static_cast<uint64_t>(a.indices[p]);
            const bool there = index < table.count;
            good &= there;
            const uint8_t *row = static_cast<const uint8_t *>(table.rows) + (there ? index : 0) * table.row_bytes;
            const float weight = a.weights ? a.weights[p] : 1;
            if constexpr (W == 4) {
                const float4 v = four_at(table.format, row, j, a.d);
                sum[0] += weight * v.x;
                sum[1] += weight * v.y;
                sum[2] += weight * v.z;
                sum[3] += weight * v.w;
            } else {
                sum[0] += weight * value_at(table.format, row, j, a.d);
            }
        }
#pragma unroll
        for (unsigned w = 0; w < W; ++w) y[j + w] = sum[w] / divisor;
    }
    if (!good) *a.bad = 1;
}

__global__ void __launch_bounds__(threads) repeat_kernel(const float *x, size_t n, float *y, size_t ldy) {
    const size_t j = size_t{blockIdx.x} * threads + threadIdx.x;
    if (j < n) y[blockIdx.y * ldy + j] = x[j];
}

// A thread block has a row of the batch, with its vectors in shared memory if they fit: rows of d + 1 values, so that
// threads that read the same value of different vectors meet different banks.
template <bool SHARED>
__global__ void __launch_bounds__(threads) interact_kernel(interact_args a) {
    extern __shared__ float vectors[];
    const unsigned f = static_cast<unsigned>(a.f), d = static_cast<unsigned>(a.d), ld = SHARED ? d + 1 : d;
    const float *t = a.t + blockIdx.x * a.ldt;
    float *z = a.z + blockIdx.x * a.ldz;
    for (unsigned j = threadIdx.x; j < d; j += threads) z[j] = t[j];
    if constexpr (SHARED) {
        for (unsigned i = threadIdx.x; i < f * d; i += threads) vectors[i / d * ld + i % d] = t[i];
        __syncthreads();
        t = vectors;
    }
    // Row i of the pairs starts behind those of the rows before it.
    const unsigned wide = a.itself ? 1 : 0, pairs = f * (f - 1) / 2 + wide * f;
    for (unsigned p = threadIdx.x; p < pairs; p += threads) {
        unsigned i = static_cast<unsigned>((sqrtf(8.0f * static_cast<float>(p) + 1) + 1) / 2) - wide;
        const auto before = [&](unsigned row) { return wide ? row * (row + 1) / 2 : row * (row - 1) / 2; };
        while (i > 0 && before(i) > p) --i;
        while (before(i + 1) <= p) ++i;
        const float *x = t + i * ld, *y = t + (p - before(i)) * ld;
        float sum = 0;
        for (unsigned k = 0; k < d; ++k) sum += x[k] * y[k];
        z[d + p] = sum;
    }
}

__global__ void __launch_bounds__(threads) cross_kernel(cross_args a) {
    const size_t j = size_t{blockIdx.x} * threads + threadIdx.x, i = blockIdx.y;
    if (j >= a.n) return;
    float &y = a.y[i * a.ldy + j];
    y = a.x0[i * a.ldx0 + j] * y + a.x[i * a.ldx + j];
}

__global__ void __launch_bounds__(threads)
    probability_kernel(const float *logits, float *p, size_t m, float low, float high) {
    const size_t i = size_t{blockIdx.x} * threads + threadIdx.x;
    if (i >= m) return;
    const float v = apply(activation::sigmoid, logits[i]);
    p[i] = v < low ? low : v > high ? high : v;
}

unsigned blocks_for(size_t work) {
    return static_cast<unsigned>((work + threads - 1) / threads);
}

}  // namespace

cudaError_t sum_bags(const bags_args &a, cudaStream_t stream) {
    const bool fours = a.d % 4 == 0 && a.ldy % 4 == 0;
    const size_t groups = fours ? a.d / 4 : a.d;
    unsigned lanes = 1;
    while (lanes < warp && lanes < groups) lanes *= 2;
    const dim3 grid(blocks_for(a.m * lanes), static_cast<unsigned>(a.n_tables));
    if (fours)
        bags_kernel<4><<<grid, threads, 0, stream>>>(a, lanes);
    else
        bags_kernel<1><<<grid, threads, 0, stream>>>(a, lanes);
    return cudaGetLastError();
}

cudaError_t repeat_row(const float *x, size_t n, float *y, size_t m, size_t ldy, cudaStream_t stream) {
    repeat_kernel<<<dim3(blocks_for(n), static_cast<unsigned>(m)), threads, 0, stream>>>(x, n, y, ldy);
    return cudaGetLastError();
}

cudaError_t interact(const interact_args &a, cudaStream_t stream) {
    constexpr size_t most_shared = 48 << 10;  // more needs an attribute of the kernel
    const size_t bytes = a.f * (a.d + 1) * sizeof(float);
    const auto rows = static_cast<unsigned>(a.batch);
    if (bytes <= most_shared)
        interact_kernel<true><<<rows, threads, bytes, stream>>>(a);
    else
        interact_kernel<false><<<rows, threads, 0, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t cross(const cross_args &a, cudaStream_t stream) {
    cross_kernel<<<dim3(blocks_for(a.n), static_cast<unsigned>(a.m)), threads, 0, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t finish_probability(const float *logits, float *p, size_t m, float low, float high, cudaStream_t stream) {
    probability_kernel<<<blocks_for(m), threads, 0, stream>>>(logits, p, m, low, high);
    return cudaGetLastError();
}

}  // namespace ss1::cuda
