// SPDX-License-Identifier: Apache-2.0
// Two kernels: one on tensor cores for bf16 heads of 32, 64 and 128 values, one in f32 arithmetic for all others. Both
// walk over the keys in blocks and correct sums and maximum as they go, so that no score is stored.
#include "attention.hpp"

#include <cmath>

#include "device_math.hpp"

namespace ss1::cuda {
namespace {

constexpr float log2_e = 1.44269504f;

// The sequence and head of a thread block, and its first query.
struct place {
    unsigned first, length, head, query;
};

__device__ place place_of(const attention_args &a, unsigned queries, unsigned blocks) {
    const unsigned s = blockIdx.x / blocks, first = static_cast<unsigned>(a.starts[s]);
    return {first, static_cast<unsigned>(a.starts[s + 1]) - first, blockIdx.y, blockIdx.x % blocks * queries};
}

// ---- tensor cores

constexpr unsigned tile = 64;                        // queries of a thread block; keys at a time
constexpr unsigned tile_threads = tile / 16 * warp;  // a warp has 16 queries
constexpr unsigned pad = 8;                          // values between two rows of shared memory, against bank conflicts

__device__ unsigned shared_address(const void *p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Copies 16 bytes, or writes zeros.
__device__ void copy_16(void *to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(there ? 16 : 0));
}
__device__ void commit_copies() {
    asm volatile("cp.async.commit_group;");
}
template <int PENDING>
__device__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

template <bool TRANSPOSED>
__device__ void load_matrices(unsigned (&r)[4], const bf16 *at) {
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(at))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(at))
                     : "memory");
}

// d += a . b for a [16, 16] and b [16, 8].
__device__ void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ unsigned pack(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned *>(&both);
}

__device__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Four threads hold a row of a product.
__device__ float max_of_row(float v) {
    v = fmaxf(v, __shfl_xor_sync(~0u, v, 1));
    return fmaxf(v, __shfl_xor_sync(~0u, v, 2));
}
__device__ float sum_of_row(float v) {
    v += __shfl_xor_sync(~0u, v, 1);
    return v + __shfl_xor_sync(~0u, v, 2);
}

template <unsigned D>
struct tile_rows {
    bf16 at[tile][D + pad];
};

// Copies `tile` rows of D values from `first` on; rows from `length` on become zeros.
template <unsigned D>
__device__ void copy_tile(tile_rows<D> &to, const bf16 *rows, size_t ld, unsigned first, unsigned length) {
    constexpr unsigned chunks = D / 8;
    for (unsigned i = threadIdx.x; i < tile * chunks; i += tile_threads) {
        const unsigned row = i / chunks, column = i % chunks * 8;
        const bool there = first + row < length;
        copy_16(&to.at[row][column], rows + (there ? first + row : 0) * ld + column, there);
    }
}

// What a thread knows of its two rows, lane / 4 and lane / 4 + 8 of the warp's 16.
struct running {
    float max[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
};

// Turns scores into weights, and gives the factors by which the sums so far shrink.
template <unsigned N>
__device__ void weigh(float (&s)[N][4], running &r, float scale, float (&shrink)[2]) {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
        float max = r.max[half];
#pragma unroll
        for (unsigned n = 0; n < N; ++n) max = fmaxf(max, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        max = max_of_row(max);
        shrink[half] = exp2_fast((r.max[half] - max) * scale);
        r.max[half] = max;
        float total = 0;
#pragma unroll
        for (unsigned n = 0; n < N; ++n)
#pragma unroll
            for (unsigned i = 2 * half; i < 2 * half + 2; ++i) {
                s[n][i] = exp2_fast((s[n][i] - max) * scale);  // the difference first: masked scores are near -FLT_MAX
                total += s[n][i];
            }
        r.total[half] = r.total[half] * shrink[half] + total;
    }
}

// Adds the mask to the scores of keys [key0, key0 + tile); those behind the sequence get no weight.
template <unsigned N>
__device__ void mask_scores(float (&s)[N][4], const float *mask, unsigned key0, unsigned length) {
    if (!mask && key0 + tile <= length) return;
    const unsigned column = threadIdx.x % 4 * 2;
#pragma unroll
    for (unsigned n = 0; n < N; ++n)
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned key = key0 + n * 8 + column + i % 2;
            if (key >= length)
                s[n][i] = -INFINITY;
            else if (mask)
                s[n][i] += mask[key];
        }
}

// scores = q . k^T for the warp's 16 queries.
template <unsigned D>
__device__ void score(float (&s)[tile / 8][4], const unsigned (&q)[D / 16][4], const tile_rows<D> &keys) {
    const unsigned lane = threadIdx.x % warp, i = lane / 8;
#pragma unroll
    for (unsigned n = 0; n < tile / 16; ++n) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) s[2 * n][j] = s[2 * n + 1][j] = 0;
#pragma unroll
        for (unsigned k = 0; k < D / 16; ++k) {
            unsigned b[4];
            load_matrices<false>(b, &keys.at[n * 16 + i / 2 * 8 + lane % 8][k * 16 + i % 2 * 8]);
            multiply_add(s[2 * n], q[k], b[0], b[1]);
            multiply_add(s[2 * n + 1], q[k], b[2], b[3]);
        }
    }
}

// y += weights . v
template <unsigned D>
__device__ void add_values(float (&y)[D / 8][4], const float (&w)[tile / 8][4], const tile_rows<D> &values) {
    const unsigned lane = threadIdx.x % warp, i = lane / 8;
#pragma unroll
    for (unsigned k = 0; k < tile / 16; ++k) {
        const unsigned a[4] = {pack(w[2 * k][0], w[2 * k][1]), pack(w[2 * k][2], w[2 * k][3]),
                               pack(w[2 * k + 1][0], w[2 * k + 1][1]), pack(w[2 * k + 1][2], w[2 * k + 1][3])};
#pragma unroll
        for (unsigned n = 0; n < D / 16; ++n) {
            unsigned b[4];
            load_matrices<true>(b, &values.at[k * 16 + i % 2 * 8 + lane % 8][n * 16 + i / 2 * 8]);
            multiply_add(y[2 * n], a, b[0], b[1]);
            multiply_add(y[2 * n + 1], a, b[2], b[3]);
        }
    }
}

// Shared memory: the queries, then two pairs of keys and values, of which one is filled while the other is read.
template <unsigned D>
struct tile_memory {
    tile_rows<D> queries, keys[2], values[2];
};

template <unsigned D>
__global__ void __launch_bounds__(tile_threads) attend_tiles(attention_args a, unsigned blocks) {
    extern __shared__ __align__(16) char shared[];
    tile_memory<D> &memory = *reinterpret_cast<tile_memory<D> *>(shared);
    const place at = place_of(a, tile, blocks);
    if (at.query >= at.length) return;
    const size_t width = a.heads * D, ld = 3 * width;
    const bf16 *q = static_cast<const bf16 *>(a.qkv) + at.first * ld + at.head * D, *k = q + width, *v = k + width;
    const float *mask = a.mask ? a.mask + at.first : nullptr;
    const unsigned lane = threadIdx.x % warp, row = threadIdx.x / warp * 16;
    copy_tile<D>(memory.queries, q, ld, at.query, at.length);
    copy_tile<D>(memory.keys[0], k, ld, 0, at.length);
    copy_tile<D>(memory.values[0], v, ld, 0, at.length);
    commit_copies();
    unsigned queries[D / 16][4];
    float y[D / 8][4] = {};
    running r;
    const float scale = log2_e / sqrtf(static_cast<float>(D));
    for (unsigned key0 = 0, turn = 0; key0 < at.length; key0 += tile, turn ^= 1) {
        if (key0 + tile < at.length) {
            copy_tile<D>(memory.keys[turn ^ 1], k, ld, key0 + tile, at.length);
            copy_tile<D>(memory.values[turn ^ 1], v, ld, key0 + tile, at.length);
        }
        commit_copies();  // empty behind the last block: the count below stays right
        wait_for_copies<1>();
        __syncthreads();
        if (key0 == 0) {
#pragma unroll
            for (unsigned i = 0; i < D / 16; ++i)
                load_matrices<false>(queries[i], &memory.queries.at[row + lane % 16][i * 16 + lane / 16 * 8]);
        }
        float s[tile / 8][4], shrink[2];
        score<D>(s, queries, memory.keys[turn]);
        mask_scores(s, mask, key0, at.length);
        weigh(s, r, scale, shrink);
#pragma unroll
        for (unsigned n = 0; n < D / 8; ++n)
#pragma unroll
            for (unsigned i = 0; i < 4; ++i) y[n][i] *= shrink[i / 2];
        add_values<D>(y, s, memory.values[turn]);
        __syncthreads();  // the next turn fills what this one read
    }
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
        const float inverse = 1 / sum_of_row(r.total[half]);
        const unsigned query = at.query + row + lane / 4 + half * 8;
        if (query >= at.length) continue;
        bf16 *to = static_cast<bf16 *>(a.y) + (at.first + query) * width + at.head * D + lane % 4 * 2;
#pragma unroll
        for (unsigned n = 0; n < D / 8; ++n)
            *reinterpret_cast<unsigned *>(to + n * 8) = pack(y[n][2 * half] * inverse, y[n][2 * half + 1] * inverse);
    }
}

// ---- f32 arithmetic

constexpr unsigned plain_queries = 8;  // of a thread block: one each warp
constexpr unsigned plain_threads = plain_queries * warp;
constexpr unsigned plain_values = max_head_size / warp;  // of a lane

// A lane has one key at a time for the scores, and every 32nd value of the result.
template <class T>
__global__ void __launch_bounds__(plain_threads) attend_plain(attention_args a, unsigned blocks) {
    __shared__ float q[plain_queries][max_head_size], k[warp][max_head_size + 1], v[warp][max_head_size];
    const place at = place_of(a, plain_queries, blocks);
    if (at.query >= at.length) return;
    const unsigned d = static_cast<unsigned>(a.d), lane = threadIdx.x % warp, mine = threadIdx.x / warp;
    const size_t width = a.heads * d, ld = 3 * width;
    const T *from = static_cast<const T *>(a.qkv) + at.first * ld + at.head * d;
    const float *mask = a.mask ? a.mask + at.first : nullptr;
    const float scale = 1 / sqrtf(static_cast<float>(d));
    const unsigned query = min(at.query + mine, at.length - 1);  // the last one stands in for those behind it
    for (unsigned i = lane; i < d; i += warp) q[mine][i] = to_f32(from[query * ld + i]);
    float y[plain_values] = {}, max = -INFINITY, total = 0;
    for (unsigned key0 = 0; key0 < at.length; key0 += warp) {
        __syncthreads();
        for (unsigned i = threadIdx.x; i < warp * d; i += plain_threads) {
            const unsigned row = i / d, column = i % d;
            const bool there = key0 + row < at.length;
            const T *of = from + (key0 + row) * ld + column;
            k[row][column] = there ? to_f32(of[width]) : 0;
            v[row][column] = there ? to_f32(of[2 * width]) : 0;
        }
        __syncthreads();
        float s = 0;
        for (unsigned i = 0; i < d; ++i) s += q[mine][i] * k[lane][i];
        if (mask && key0 + lane < at.length) s += mask[key0 + lane];
        if (key0 + lane >= at.length) s = -INFINITY;
        const float above = fmaxf(max, max_of_warp(s)), shrink = expf((max - above) * scale);
        const float w = expf((s - above) * scale);
        max = above;
        total = total * shrink + sum_of_warp(w);
#pragma unroll
        for (unsigned n = 0; n < plain_values; ++n) y[n] *= shrink;
        for (unsigned j = 0; j < warp; ++j) {
            const float weight = __shfl_sync(~0u, w, j);
#pragma unroll
            for (unsigned n = 0; n < plain_values; ++n)
                if (lane + n * warp < d) y[n] += weight * v[j][lane + n * warp];
        }
    }
    if (at.query + mine >= at.length) return;
    T *to = static_cast<T *>(a.y) + (at.first + query) * width + at.head * d;
#pragma unroll
    for (unsigned n = 0; n < plain_values; ++n)
        if (lane + n * warp < d) to[lane + n * warp] = from_f32<T>(y[n] / total);
}

// Starts a kernel whose thread blocks have `queries` queries each.
template <class K>
cudaError_t launch(K *kernel, const attention_args &a, unsigned queries, unsigned threads, size_t shared,
                   cudaStream_t stream) {
    const unsigned blocks = static_cast<unsigned>((a.longest + queries - 1) / queries);
    const dim3 grid(blocks * static_cast<unsigned>(a.batch), static_cast<unsigned>(a.heads));
    kernel<<<grid, threads, shared, stream>>>(a, blocks);
    return cudaGetLastError();
}

template <unsigned D>
cudaError_t launch_tiles(const attention_args &a, cudaStream_t stream) {
    constexpr int bytes = sizeof(tile_memory<D>);
    if (const cudaError_t e = cudaFuncSetAttribute(attend_tiles<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes))
        return e;
    return launch(attend_tiles<D>, a, tile, tile_threads, bytes, stream);
}

}  // namespace

cudaError_t attend(const attention_args &a, cudaStream_t stream) {
    if (a.type == dtype::bf16 && a.d == 32) return launch_tiles<32>(a, stream);
    if (a.type == dtype::bf16 && a.d == 64) return launch_tiles<64>(a, stream);
    if (a.type == dtype::bf16 && a.d == 128) return launch_tiles<128>(a, stream);
    if (a.type == dtype::bf16) return launch(attend_plain<bf16>, a, plain_queries, plain_threads, 0, stream);
    return launch(attend_plain<float>, a, plain_queries, plain_threads, 0, stream);
}

}  // namespace ss1::cuda
