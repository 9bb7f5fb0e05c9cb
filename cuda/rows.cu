// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

#include <algorithm>

#include "device_math.hpp"

namespace ss1::cuda {
namespace {

constexpr unsigned threads = 128;
constexpr unsigned lanes = 8;  // columns of a sketch that a thread makes together

__device__ float4 operator+(float4 a, float4 b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

__device__ float4 four_of(const float *at) {
    return *reinterpret_cast<const float4 *>(at);
}
__device__ float4 four_of(const bf16 *at) {
    const uint2 words = *reinterpret_cast<const uint2 *>(at);
    const float2 low = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&words.x)),
                 high = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&words.y));
    return {low.x, low.y, high.x, high.y};
}

// Where the values of a row come from: one(j) and four(j) give value j, and four from j on.
template <class T>
struct sums {
    const T *x;
    const float *residual;

    struct row {
        const T *x;
        const float *residual;
        __device__ float one(size_t j) const { return residual ? to_f32(x[j]) + residual[j] : to_f32(x[j]); }
        __device__ float4 four(size_t j) const {
            return residual ? four_of(x + j) + four_of(residual + j) : four_of(x + j);
        }
    };
    __device__ row at(size_t i, size_t n) const { return {x + i * n, residual ? residual + i * n : nullptr}; }
};

struct tokens {
    token_rows of;

    struct row {
        const float *word, *type, *position;
        __device__ float one(size_t j) const {
            const float v = type ? word[j] + type[j] : word[j];
            return position ? v + position[j] : v;
        }
        __device__ float4 four(size_t j) const {
            const float4 v = type ? four_of(word + j) + four_of(type + j) : four_of(word + j);
            return position ? v + four_of(position + j) : v;
        }
    };
    __device__ row at(size_t i, size_t n) const {
        return {of.word + static_cast<size_t>(of.ids[i]) * n,
                of.type ? of.type + static_cast<size_t>(of.types[i]) * n : nullptr,
                of.position ? of.position + static_cast<size_t>(of.positions[i]) * n : nullptr};
    }
};

__device__ uint2 rounded(float4 v) {
    const __nv_bfloat162 low = __floats2bfloat162_rn(v.x, v.y), high = __floats2bfloat162_rn(v.z, v.w);
    return {*reinterpret_cast<const unsigned *>(&low), *reinterpret_cast<const unsigned *>(&high)};
}

__device__ void write(const norm_to &to, size_t at, float v) {
    to.y[at] = v;
    if (to.half) static_cast<bf16 *>(to.half)[at] = __float2bfloat16_rn(v);
}

// Entries of up to 8 members of the group in which a column of a sketch lies, from member `first` on; they are loaded
// together, before they are needed.
struct group_entries {
    static constexpr unsigned most = 8;
    sketch_entry of[most];
};
__device__ group_entries entries_at(const sketch_form &form, unsigned column, unsigned first) {
    group_entries entries;
    const unsigned begin = column / form.block_k * form.c;
#pragma unroll
    for (unsigned q = 0; q < group_entries::most; ++q)
        entries.of[q] = entry_of(form.entries, begin + min(first + q, form.c - 1));
    return entries;
}

// A warp makes the sketch of its row, as the kernel of layers does: sums in f32 over ascending q, rounded once. A lane
// makes the columns from lanes * lane on; `entries` are the first ones of these.
__device__ void sketch_row(const sketch_form &form, group_entries entries, const bf16 *row, bf16 *to, unsigned lane) {
    for (unsigned column = lane * lanes; column < form.columns; column += warp * lanes) {
        const unsigned g = column / form.block_k, u = column % form.block_k;
        float sum[lanes] = {};
        for (unsigned first = 0; first < form.c; first += group_entries::most) {
            if (first || column != lane * lanes) entries = entries_at(form, column, first);
#pragma unroll
            for (unsigned q = 0; q < group_entries::most; ++q) {
                if (first + q >= form.c) break;
                const sketch_entry e = entries.of[q];
                const unsigned member = g * form.c + first + q, at = (u + e.rotation) & (form.block_k - 1);
                union {
                    uint4 words;
                    bf16 v[lanes];
                } x{*reinterpret_cast<const uint4 *>(row + member * form.block_k + at)};
#pragma unroll
                for (unsigned l = 0; l < lanes; ++l) sum[l] += e.negative ? -to_f32(x.v[l]) : to_f32(x.v[l]);
            }
        }
        const uint2 low = rounded({sum[0], sum[1], sum[2], sum[3]}), high = rounded({sum[4], sum[5], sum[6], sum[7]});
        *reinterpret_cast<uint4 *>(to + column) = {low.x, low.y, high.x, high.y};
    }
}

// A warp normalises a row, which it holds in registers: FOURS times 4 values in each lane. The kernel that makes no
// sketch has no shared memory: with it a run of one sequence took 0.644 ms instead of 0.565 (BERT-base, dense, H200).
template <class S, unsigned FOURS, bool SKETCH>
__global__ void __launch_bounds__(threads) norm_kernel(S source, norm_to to) {
    const size_t i = size_t{blockIdx.x} * (threads / warp) + threadIdx.x / warp;
    if (i >= to.m) return;
    const unsigned lane = threadIdx.x % warp;
    group_entries entries;
    if constexpr (SKETCH) entries = entries_at(to.sketch, lane * lanes < to.sketch.columns ? lane * lanes : 0, 0);
    const auto row = source.at(i, to.n);
    float4 t[FOURS];
    float sum = 0, squares = 0;
#pragma unroll
    for (unsigned f = 0; f < FOURS; ++f) {
        const size_t j = (f * warp + lane) * 4;
        t[f] = j < to.n ? row.four(j) : float4{};
        sum += t[f].x + t[f].y + (t[f].z + t[f].w);
    }
    const float count = static_cast<float>(to.n), mean = sum_of_warp(sum) / count;
#pragma unroll
    for (unsigned f = 0; f < FOURS; ++f) {
        if ((f * warp + lane) * 4 >= to.n) continue;
        t[f] = t[f] + float4{-mean, -mean, -mean, -mean};
        squares += t[f].x * t[f].x + t[f].y * t[f].y + (t[f].z * t[f].z + t[f].w * t[f].w);
    }
    const float inverse = 1 / sqrtf(sum_of_warp(squares) / count + to.eps);
    bf16 *const half = static_cast<bf16 *>(to.half);
    bf16 *row_half = half ? half + i * to.n : nullptr;
    if constexpr (SKETCH) {
        __shared__ alignas(16) bf16 rows[threads / warp][FOURS * 4 * warp];
        row_half = rows[threadIdx.x / warp];
    }
#pragma unroll
    for (unsigned f = 0; f < FOURS; ++f) {
        const size_t j = (f * warp + lane) * 4;
        if (j >= to.n) continue;
        const float4 g = four_of(to.gamma + j), b = four_of(to.beta + j),
                     v = {t[f].x * inverse * g.x + b.x, t[f].y * inverse * g.y + b.y, t[f].z * inverse * g.z + b.z,
                          t[f].w * inverse * g.w + b.w};
        *reinterpret_cast<float4 *>(to.y + i * to.n + j) = v;
        if (row_half) *reinterpret_cast<uint2 *>(row_half + j) = rounded(v);
    }
    if constexpr (SKETCH) {
        __syncwarp();
        sketch_row(to.sketch, entries, row_half, half + i * to.sketch.columns, lane);
    }
}

// The same for rows of any width, which it reads three times.
template <class S>
__global__ void __launch_bounds__(threads) wide_norm_kernel(S source, norm_to to) {
    const size_t i = size_t{blockIdx.x} * (threads / warp) + threadIdx.x / warp;
    if (i >= to.m) return;
    const auto row = source.at(i, to.n);
    float sum = 0, squares = 0;
    for (size_t j = threadIdx.x % warp; j < to.n; j += warp) sum += row.one(j);
    const float count = static_cast<float>(to.n), mean = sum_of_warp(sum) / count;
    for (size_t j = threadIdx.x % warp; j < to.n; j += warp) {
        const float d = row.one(j) - mean;
        squares += d * d;
    }
    const float inverse = 1 / sqrtf(sum_of_warp(squares) / count + to.eps);
    for (size_t j = threadIdx.x % warp; j < to.n; j += warp)
        write(to, i * to.n + j, (row.one(j) - mean) * inverse * to.gamma[j] + to.beta[j]);
}

template <bool SKETCH, class S>
void launch_norm(const S &source, const norm_to &to, unsigned blocks, cudaStream_t stream) {
    const size_t fours = (to.n + 4 * warp - 1) / (4 * warp);
    if (fours <= 2)
        norm_kernel<S, 2, SKETCH><<<blocks, threads, 0, stream>>>(source, to);
    else if (fours <= 4)
        norm_kernel<S, 4, SKETCH><<<blocks, threads, 0, stream>>>(source, to);
    else if (fours <= 6)
        norm_kernel<S, 6, SKETCH><<<blocks, threads, 0, stream>>>(source, to);
    else
        norm_kernel<S, 8, SKETCH><<<blocks, threads, 0, stream>>>(source, to);
}

template <class S>
cudaError_t normalize_rows(const S &source, const norm_to &to, cudaStream_t stream) {
    constexpr unsigned rows = threads / warp;
    const unsigned blocks = static_cast<unsigned>((to.m + rows - 1) / rows);
    if (to.sketch.entries && !can_sketch_norm(to.n)) return cudaErrorInvalidValue;
    if (to.n % 4 || to.n > 8 * 4 * warp)
        wide_norm_kernel<<<blocks, threads, 0, stream>>>(source, to);
    else if (to.sketch.entries)
        launch_norm<true>(source, to, blocks, stream);
    else
        launch_norm<false>(source, to, blocks, stream);
    return cudaGetLastError();
}

__global__ void __launch_bounds__(threads) round_kernel(const float *x, bf16 *half, size_t count) {
    const size_t i = size_t{blockIdx.x} * threads + threadIdx.x;
    if (i < count) half[i] = __float2bfloat16_rn(x[i]);
}

template <bool GELU>
__global__ void __launch_bounds__(threads) activate_kernel(uint4 *values, size_t count, activation what) {
    const size_t i = size_t{blockIdx.x} * threads + threadIdx.x;
    if (i >= count) return;
    union {
        uint4 words;
        bf16 v[8];
    } u{values[i]};
#pragma unroll
    for (unsigned j = 0; j < 8; ++j) {
        const float x = to_f32(u.v[j]);
        u.v[j] = __float2bfloat16_rn(GELU ? gelu_fast(x) : apply(what, x));
    }
    values[i] = u.words;
}

__global__ void __launch_bounds__(threads) unpack_kernel(unpack_args a) {
    const size_t all = a.batch * a.tokens * a.n;
    for (size_t i = size_t{blockIdx.x} * threads + threadIdx.x; i < all; i += size_t{gridDim.x} * threads) {
        const size_t token = i / a.n, b = token / a.tokens, t = token % a.tokens;
        const size_t first = static_cast<size_t>(a.starts[b]), row = first + t;
        a.y[i] = row < static_cast<size_t>(a.starts[b + 1]) ? a.x[row * a.ldx + i % a.n] : 0;
    }
}

__global__ void __launch_bounds__(threads) first_rows_kernel(const float *x, const int *starts, float *y, size_t n) {
    for (size_t j = threadIdx.x; j < n; j += threads)
        y[blockIdx.x * n + j] = x[static_cast<size_t>(starts[blockIdx.x]) * n + j];
}

}  // namespace

cudaError_t normalize(const void *x, dtype x_type, const float *residual, const norm_to &to, cudaStream_t stream) {
    if (x_type == dtype::bf16) return normalize_rows(sums<bf16>{static_cast<const bf16 *>(x), residual}, to, stream);
    return normalize_rows(sums<float>{static_cast<const float *>(x), residual}, to, stream);
}

cudaError_t embed(const token_rows &of, const norm_to &to, cudaStream_t stream) {
    return normalize_rows(tokens{of}, to, stream);
}

cudaError_t round_to_bf16(const float *x, void *half, size_t count, cudaStream_t stream) {
    round_kernel<<<static_cast<unsigned>((count + threads - 1) / threads), threads, 0, stream>>>(
        x, static_cast<bf16 *>(half), count);
    return cudaGetLastError();
}

cudaError_t activate(void *y, size_t count, activation what, cudaStream_t stream) {
    const unsigned blocks = static_cast<unsigned>((count / 8 + threads - 1) / threads);
    auto *kernel = what == activation::gelu ? activate_kernel<true> : activate_kernel<false>;
    kernel<<<blocks, threads, 0, stream>>>(static_cast<uint4 *>(y), count / 8, what);
    return cudaGetLastError();
}

cudaError_t unpack(const unpack_args &a, cudaStream_t stream) {
    constexpr size_t most_blocks = 8192;
    const size_t blocks = (a.batch * a.tokens * a.n + threads - 1) / threads;
    unpack_kernel<<<static_cast<unsigned>(std::min(blocks, most_blocks)), threads, 0, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t first_rows(const float *x, const int *starts, float *y, size_t batch, size_t n, cudaStream_t stream) {
    first_rows_kernel<<<static_cast<unsigned>(batch), threads, 0, stream>>>(x, starts, y, n);
    return cudaGetLastError();
}

}  // namespace ss1::cuda
