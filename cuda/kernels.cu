// SPDX-License-Identifier: Apache-2.0
#include "kernels.hpp"

#include <algorithm>

#include "device_math.hpp"

namespace ss1::cuda {
namespace {

constexpr unsigned threads = 256;
constexpr unsigned lanes = 8;  // sketch columns of one thread: 16 bytes of a 2-byte type

template <class T>
struct alignas(16) pack {  // `lanes` values as they lie in memory
    T v[lanes];
};

// Reads row[k .. k + lanes), which lie at a multiple of 16 bytes; 0 beyond K, a multiple of `lanes`. It has no branch:
// the loads of several members can be under way at once.
template <class X>
__device__ pack<X> load(const X *row, size_t k, size_t K) {
    constexpr unsigned words = sizeof(pack<X>) / sizeof(uint4);
    union {
        uint4 of[words];
        pack<X> values;
    } u;
    const uint4 *from = reinterpret_cast<const uint4 *>(row + (k < K ? k : 0));
#pragma unroll
    for (unsigned w = 0; w < words; ++w) {
        const uint4 v = from[w];
        const unsigned mask = k < K ? ~0u : 0u;
        u.of[w] = {v.x & mask, v.y & mask, v.z & mask, v.w & mask};
    }
    return u.values;
}

// What a sketch takes of x.
struct itself {
    template <class X>
    __device__ float operator()(X v) const {
        return to_f32(v);
    }
};
struct fast_gelu {
    __device__ float operator()(bf16 v) const { return gelu_fast(to_f32(v)); }
};
struct activated {
    activation what;
    __device__ float operator()(bf16 v) const { return apply(what, to_f32(v)); }
};

// Reads what the sketch columns [u, u + lanes) take from one member of a group. STEP8: rotations are multiples of
// `lanes`.
template <bool STEP8, class X>
__device__ pack<X> load_member(const sketch_args &a, const X *row, size_t block, size_t u, unsigned rotation) {
    const size_t base = block * a.block_k, mask = a.block_k - 1;
    if constexpr (STEP8) {
        return load(row, base + ((u + rotation) & mask), a.k);
    } else {
        pack<X> values;
#pragma unroll
        for (unsigned i = 0; i < lanes; ++i) {
            const size_t k = base + ((u + i + rotation) & mask);
            values.v[i] = k < a.k ? row[k] : X(0.0f);
        }
        return values;
    }
}

// Sums the c members for `lanes` columns of one row. C: the number of members, 0 if only known at run time.
template <unsigned C, bool STEP8, class X, class F>
__device__ void sum_members(const sketch_args &a, const X *row, const sketch_entry *entries, size_t g, size_t u, F f,
                            float (&sum)[lanes]) {
    const unsigned c = C ? C : static_cast<unsigned>(a.c);
#pragma unroll
    for (unsigned i = 0; i < lanes; ++i) sum[i] = 0;
    auto add = [&](const pack<X> &values, bool negative) {
#pragma unroll
        for (unsigned i = 0; i < lanes; ++i) {
            const float v = f(values.v[i]);
            sum[i] += negative ? -v : v;
        }
    };
    if constexpr (C != 0) {  // all loads are under way before the first sum
        pack<X> values[C];
        unsigned negative = 0;
#pragma unroll
        for (unsigned q = 0; q < C; ++q) {
            const sketch_entry e = entry_of(entries, g * C + q);
            negative |= unsigned{e.negative} << q;
            values[q] = load_member<STEP8>(a, row, g * C + q, u, e.rotation);
        }
#pragma unroll
        for (unsigned q = 0; q < C; ++q) add(values[q], negative >> q & 1);
    } else {
        for (unsigned q = 0; q < c; ++q) {
            const sketch_entry e = entry_of(entries, g * c + q);
            add(load_member<STEP8>(a, row, g * c + q, u, e.rotation), e.negative);
        }
    }
}

// A thread makes `lanes` columns of ROWS rows in every sketch: x comes from memory for the first sketch and from L1 for
// the others. Neighbouring threads read neighbouring values, of one row and then of the next ones.
template <unsigned C, unsigned ROWS, bool STEP8, class X, class S, class F>
__global__ void __launch_bounds__(threads) sketch_kernel(sketch_args a, F f) {
    const unsigned columns = static_cast<unsigned>(a.groups * a.block_k / lanes);
    const size_t at = size_t{blockIdx.x} * threads + threadIdx.x;
    const size_t i = at / columns * ROWS;
    if (i >= a.m) return;
    const unsigned column = static_cast<unsigned>(at % columns) * lanes, block_k = static_cast<unsigned>(a.block_k);
    const unsigned g = column / block_k, u = column % block_k;
    const X *x = static_cast<const X *>(a.x);
    for (size_t j = 0; j < a.sketches; ++j) {
        const sketch_entry *entries = a.entries + j * a.groups * a.c;
        S *to = static_cast<S *>(a.s) + j * a.sketch_stride + column;
        float sum[ROWS][lanes];
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r)  // the last row stands in for those behind it
            sum_members<C, STEP8>(a, x + (i + r < a.m ? i + r : a.m - 1) * a.ldx, entries, g, u, f, sum[r]);
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) {
            if (i + r >= a.m) break;
            pack<S> out;
#pragma unroll
            for (unsigned l = 0; l < lanes; ++l) out.v[l] = from_f32<S>(sum[r][l]);
            *reinterpret_cast<pack<S> *>(to + (i + r) * a.lds) = out;
        }
    }
}

// A warp makes one sketch of one row. It sums twice: for the maximum, and again for the values; the row then comes from
// L1.
template <bool STEP8, class X>
__global__ void __launch_bounds__(threads) sketch_quantized_kernel(sketch_args a, float *row_scale) {
    const unsigned columns = static_cast<unsigned>(a.groups * a.block_k / lanes), lane = threadIdx.x % warp;
    const unsigned block_k = static_cast<unsigned>(a.block_k);
    const size_t at = (size_t{blockIdx.x} * threads + threadIdx.x) / warp, i = at / a.sketches, j = at % a.sketches;
    if (i >= a.m) return;
    const sketch_entry *entries = a.entries + j * a.groups * a.c;
    const X *row = static_cast<const X *>(a.x) + i * a.ldx;
    int8_t *to = static_cast<int8_t *>(a.s) + j * a.sketch_stride + i * a.lds;
    float sum[lanes], max = 0;
    auto join = [](float x, float y) { return isnan(y) || y > x ? y : x; };  // x may be NaN: then it stays
    for (unsigned t = lane; t < columns; t += warp) {
        sum_members<0, STEP8>(a, row, entries, t * lanes / block_k, t * lanes % block_k, itself{}, sum);
#pragma unroll
        for (unsigned l = 0; l < lanes; ++l) max = join(max, fabsf(sum[l]));
    }
    for (unsigned step = warp / 2; step; step /= 2) max = join(max, __shfl_xor_sync(~0u, max, step));
    const float inverse = 127.0f / max;
    const bool finite = max > 0 && isfinite(max) && isfinite(inverse);
    if (lane == 0) row_scale[i * a.sketches + j] = max / 127.0f;
    for (unsigned t = lane; t < columns; t += warp) {
        sum_members<0, STEP8>(a, row, entries, t * lanes / block_k, t * lanes % block_k, itself{}, sum);
        union {
            int8_t v[lanes];
            uint2 words;
        } out;
#pragma unroll
        for (unsigned l = 0; l < lanes; ++l)
            out.v[l] = finite ? static_cast<int8_t>(__float2int_rn(sum[l] * inverse)) : 0;
        *reinterpret_cast<uint2 *>(to + t * lanes) = out.words;
    }
}

__global__ void __launch_bounds__(threads) repeat_kernel(repeat_args a) {
    const size_t words = a.width / sizeof(uint4), at = size_t{blockIdx.x} * threads + threadIdx.x, i = at / words;
    if (i >= a.m) return;
    char *from = static_cast<char *>(a.from) + i * a.row + at % words * sizeof(uint4);
    const uint4 values = *reinterpret_cast<const uint4 *>(from);
    for (size_t k = 1; k <= a.copies; ++k) *reinterpret_cast<uint4 *>(from + k * a.stride) = values;
}

// A thread finishes W neighbouring outputs of the rows y, y + gridDim.y, ... of the grid.
template <unsigned W, class Y>
__global__ void __launch_bounds__(threads) finish_kernel(finish_args a) {
    const size_t j = (size_t{blockIdx.x} * threads + threadIdx.x) * W;
    if (j >= a.n) return;
    struct alignas(W * sizeof(Y)) outputs {
        Y v[W];
    };
    struct alignas(W * 4) inputs {
        float v[W];
    };
    inputs bias{}, column_scale{};
#pragma unroll
    for (unsigned w = 0; w < W; ++w) {
        if (a.bias) bias.v[w] = a.bias[j + w];
        if (a.row_scale) column_scale.v[w] = a.column_scale[j + w];
    }
    const size_t scale_column = a.scales > 1 ? j % a.part / a.block : 0;  // W divides the block
    for (size_t i = blockIdx.y; i < a.m; i += gridDim.y) {
        const inputs sums = *reinterpret_cast<const inputs *>(static_cast<const float *>(a.sums) + i * a.lds + j);
        const float row_scale = a.row_scale ? a.row_scale[i * a.scales + scale_column] : 0;
        outputs rest{}, out;
        if (a.residual) rest = *reinterpret_cast<const outputs *>(static_cast<const Y *>(a.residual) + i * a.ldr + j);
#pragma unroll
        for (unsigned w = 0; w < W; ++w) {
            float v = sums.v[w];
            if (a.row_scale) v = static_cast<float>(__float_as_int(v)) * (row_scale * column_scale.v[w]);
            v = apply(a.what, v + bias.v[w]);
            out.v[w] = from_f32<Y>(a.residual ? v + to_f32(rest.v[w]) : v);
        }
        *reinterpret_cast<outputs *>(static_cast<Y *>(a.y) + i * a.ldy + j) = out;
    }
}

__device__ unsigned hash(size_t i) {
    unsigned h = static_cast<unsigned>(i) * 0x9E3779B1u + static_cast<unsigned>(i >> 32);
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    return h ^ (h >> 16);
}

template <class T>
__global__ void fill_kernel(T *values, size_t count) {
    for (size_t i = size_t{blockIdx.x} * threads + threadIdx.x; i < count; i += size_t{gridDim.x} * threads) {
        if constexpr (sizeof(T) == 1)
            values[i] = static_cast<T>(hash(i));
        else
            values[i] = from_f32<T>(static_cast<float>(hash(i) >> 8) * 0x1p-23f - 1);
    }
}

__global__ void count_kernel(const unsigned *a, const unsigned *b, size_t words, unsigned *count) {
    unsigned differ = 0;
    for (size_t i = size_t{blockIdx.x} * threads + threadIdx.x; i < words; i += size_t{gridDim.x} * threads)
        differ += a[i] != b[i];
    if (differ) atomicAdd(count, differ);
}

unsigned blocks_for(size_t work) {
    return static_cast<unsigned>((work + threads - 1) / threads);
}

bool is_aligned(const void *pointer, size_t bytes) {
    return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// Calls f with a value of the type of x.
template <class F>
cudaError_t with_type(dtype x, F &&f) {
    if (x == dtype::bf16) return f(bf16{});
    if (x == dtype::f16) return f(__half{});
    return f(float{});
}

// Whether every run of `lanes` values is one aligned load.
bool whole_loads(const sketch_args &a, dtype x, size_t step) {
    return step % lanes == 0 && a.k % lanes == 0 && is_aligned(a.x, 16) && a.ldx * size_of(x) % 16 == 0;
}

template <unsigned C, unsigned ROWS, bool STEP8, class X, class S, class F>
void launch_sketch(const sketch_args &a, F f, cudaStream_t stream) {
    const unsigned blocks = blocks_for((a.m + ROWS - 1) / ROWS * (a.groups * a.block_k / lanes));
    sketch_kernel<C, ROWS, STEP8, X, S><<<blocks, threads, 0, stream>>>(a, f);
}

// About 4 to 8 loads of a thread are under way at once.
template <class X, class F>
void launch_whole_loads(const sketch_args &a, F f, cudaStream_t stream) {
    switch (a.c) {
        case 1:
            return launch_sketch<1, 4, true, X, bf16>(a, f, stream);
        case 2:
            return launch_sketch<2, 4, true, X, bf16>(a, f, stream);
        case 4:
            return launch_sketch<4, 2, true, X, bf16>(a, f, stream);
        case 8:
            return launch_sketch<8, 1, true, X, bf16>(a, f, stream);
        default:
            return launch_sketch<0, 1, true, X, bf16>(a, f, stream);
    }
}

}  // namespace

cudaError_t sketch(const sketch_args &a, size_t step, dtype x, dtype s, cudaStream_t stream) {
    return with_type(x, [&](auto of_x) {
        using X = decltype(of_x);
        if (s == dtype::f32)
            launch_sketch<0, 1, false, X, float>(a, itself{}, stream);
        else if (whole_loads(a, x, step))
            launch_whole_loads<X>(a, itself{}, stream);
        else
            launch_sketch<0, 1, false, X, bf16>(a, itself{}, stream);
        return cudaGetLastError();
    });
}

cudaError_t sketch_activated(const sketch_args &a, activation f, cudaStream_t stream) {
    if (!whole_loads(a, dtype::bf16, lanes)) return cudaErrorInvalidValue;
    if (f == activation::gelu)
        launch_whole_loads<bf16>(a, fast_gelu{}, stream);
    else
        launch_whole_loads<bf16>(a, activated{f}, stream);
    return cudaGetLastError();
}

cudaError_t sketch_quantized(const sketch_args &a, size_t step, dtype x, float *row_scale, cudaStream_t stream) {
    const unsigned blocks = blocks_for(a.m * a.sketches * 32);
    return with_type(x, [&](auto of_x) {
        using X = decltype(of_x);
        if (whole_loads(a, x, step))
            sketch_quantized_kernel<true, X><<<blocks, threads, 0, stream>>>(a, row_scale);
        else
            sketch_quantized_kernel<false, X><<<blocks, threads, 0, stream>>>(a, row_scale);
        return cudaGetLastError();
    });
}

cudaError_t repeat_columns(const repeat_args &a, cudaStream_t stream) {
    repeat_kernel<<<blocks_for(a.m * (a.width / sizeof(uint4))), threads, 0, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t finish(const finish_args &a, cudaStream_t stream) {
    constexpr unsigned width = 4;
    constexpr size_t rows_of_thread = 8, max_blocks_y = 65535;
    const size_t aligned = width * size_of(a.y_type);
    const bool vector = a.n % width == 0 && a.lds % width == 0 && is_aligned(a.y, aligned) && a.ldy % width == 0 &&
                        is_aligned(a.residual, aligned) && a.ldr % width == 0;
    const dim3 blocks(blocks_for(vector ? a.n / width : a.n),
                      static_cast<unsigned>(std::min((a.m + rows_of_thread - 1) / rows_of_thread, max_blocks_y)));
    if (a.y_type == dtype::bf16 && vector)
        finish_kernel<width, bf16><<<blocks, threads, 0, stream>>>(a);
    else if (a.y_type == dtype::bf16)
        finish_kernel<1, bf16><<<blocks, threads, 0, stream>>>(a);
    else if (vector)
        finish_kernel<width, float><<<blocks, threads, 0, stream>>>(a);
    else
        finish_kernel<1, float><<<blocks, threads, 0, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t fill(void *values, size_t count, dtype type, cudaStream_t stream) {
    if (type == dtype::f32)
        fill_kernel<<<1024, threads, 0, stream>>>(static_cast<float *>(values), count);
    else if (type == dtype::bf16)
        fill_kernel<<<1024, threads, 0, stream>>>(static_cast<bf16 *>(values), count);
    else
        fill_kernel<<<1024, threads, 0, stream>>>(static_cast<int8_t *>(values), count);
    return cudaGetLastError();
}

cudaError_t count_differences(const void *a, const void *b, size_t words, unsigned *count, cudaStream_t stream) {
    count_kernel<<<1024, threads, 0, stream>>>(static_cast<const unsigned *>(a), static_cast<const unsigned *>(b),
                                               words, count);
    return cudaGetLastError();
}

}  // namespace ss1::cuda
