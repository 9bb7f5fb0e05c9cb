// SPDX-License-Identifier: Apache-2.0
// GEMM on AMX tiles, bf16 and int8: the bytes are laid out alike, only the dot product differs. 32 rows x 32 columns
// take 2x2 tiles; 16 rows and fewer take 64 columns in 1x4 tiles. One step is 64 bytes of k: 32 bf16 or 64 int8. b is
// packed by 16 columns, so that a step of them is one tile of 1 KB of contiguous memory: lines that alternate between
// two tiles load 15 to 20 % slower at M <= 16.
//
// A prototype reached these percentages of the tile ceiling, at 512 bf16 of k with b streaming from L2:
//   - 97 if it loads B0 B1 A0 A1, then multiplies four times; 76 if loads alternate with products.
//   - b is loaded by tileloaddt1, a by tileloadd. The caller keeps a panel within 32 KB and a block of b within 1 MB.
//   - The sums of a block are stored tile by tile between the first products of the next block (+7 to +9 points), and
//     converted one block later, a few rows in each step (73 -> 83 at k = 256). So two blocks of sums are kept in L1.
//
// Tiles run at one of two rates, 7.5 ns a product or, beside a busy hyperthread, 18 ns. GB/s of b at the two rates:
//                                    1 MB, in L2: 2x2   1x4      3 MB, in L3: 2x2   1x4   plain loads
//   no prefetch                               70/16    110/26             21/10   21/13   22/18
//   prefetch to L1, 1 KB ahead                46/20     67/35             20/14   21/17
// So the first rows prefetch b if the caller says that it is beyond L2. They still wait for it. Later rows prefetch to
// L2 the weights that follow b (BERT-base, 128 tokens: 40 -> 35 ms; beside a busy hyperthread 83 -> 70 ms).
//
// This kernel, at M = 256, N = 1024, bf16 to bf16:
//   k                                                   512   256   128
//   % of the ceiling (the goal is 85)                    67    61    44
//   without writing y                                    91    88    79
//   beside a busy hyperthread                            43    43    35    (the bare loop: 50)
// Writing y costs 15 points for the conversion, which shares a port with the products, 8 for stores to L1, and 7 for
// cache misses of y.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"
#include "x86/amx_tiles.hpp"
#include "x86/bf16_avx512.hpp"

namespace ss1 {
namespace {

constexpr size_t step_bytes = 64;  // bytes of one row of a
constexpr size_t tile_columns = 16;
constexpr size_t tile_bytes = 1024;       // bytes of b: one step of 16 columns
constexpr size_t block_floats = 32 * 32;  // = 16 * 64
constexpr size_t most_steps = 16;         // 32 rows of a take 32 KB of L1

// Tiles 0-3 hold sums, 4-5 a, 6-7 b (1x4: 4 holds a, 5-7 hold b in turn).
template <bool integers, int c, int a, int b>
inline void product() noexcept {
    // The builtins take only literal tile numbers; before GCC 13 a template parameter is none.
    if constexpr (integers) {
        asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b));
    } else {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b));
    }
}
template <int t>
inline void stream(const void *p, size_t stride) noexcept {
    asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(t) : "memory");
}

// Writes 32 values of a row to y: adds the residual if `add`, and rounds to y's type. Whole rows of a block take plain
// stores: masked stores between the products cost a third of all time.
template <bool add>
struct to_bf16 {
    using element = uint16_t;
    template <bool whole>
    static void put(element *y, const element *r, __mmask32 mask, __m512 low, __m512 high) noexcept {
        if constexpr (add) {
            const __m512i v = whole ? _mm512_loadu_si512(r) : _mm512_maskz_loadu_epi16(mask, r);
            low = _mm512_add_ps(low, widened(_mm512_castsi512_si256(v)));
            high = _mm512_add_ps(high, widened(_mm512_extracti64x4_epi64(v, 1)));
        }
        const __m512i both = narrowed(low, high);
        if constexpr (whole) {
            _mm512_storeu_si512(y, both);
        } else {
            _mm512_mask_storeu_epi16(y, mask, both);
        }
    }
};

template <bool add>
struct to_f32 {
    using element = float;
    template <bool whole>
    static void put(element *y, const element *r, __mmask32 mask, __m512 low, __m512 high) noexcept {
        const auto mask_low = static_cast<__mmask16>(mask), mask_high = static_cast<__mmask16>(mask >> 16);
        if constexpr (add) {
            low = _mm512_add_ps(low, whole ? _mm512_loadu_ps(r) : _mm512_maskz_loadu_ps(mask_low, r));
            high = _mm512_add_ps(high, whole ? _mm512_loadu_ps(r + 16) : _mm512_maskz_loadu_ps(mask_high, r + 16));
        }
        if constexpr (whole) {
            _mm512_storeu_ps(y, low);
            _mm512_storeu_ps(y + 16, high);
        } else {
            _mm512_mask_storeu_ps(y, mask_low, low);
            _mm512_mask_storeu_ps(y + 16, mask_high, high);
        }
    }
};

// The place of a block of sums in y. A block is 32 x 32 (wide: 16 x 64) f32 or s32 values in L1.
struct place {
    size_t i, j;        // row and column of its first element
    size_t rows;        // rows that exist
    __mmask32 mask[2];  // columns that exist, for each 32
};

template <bool integers, bool wide, class Y>
struct epilogue {
    static constexpr size_t columns = wide ? 64 : 32;

    const gemm_fused_args &g;
    alignas(64) float sums[2][block_floats];
    place places[2];

    explicit epilogue(const gemm_fused_args &args) noexcept : g(args) {}  // does not zero the sums: 8 KB a call

    void note(size_t which, size_t i, size_t j, size_t rows) noexcept {
        const size_t left = g.n - j;
        const auto below = [](size_t n) { return n < 32 ? (__mmask32{1} << n) - 1 : ~__mmask32{0}; };
        places[which] = {i, j, rows, {below(left), left > 32 ? below(left - 32) : 0}};
    }

    // Returns the values of 16 sums, before an activation. A block may reach 16 columns beyond the last packed tile.
    template <bool whole>
    __m512 value(__m512 sum, size_t j, __mmask16 mask, __m512 row_scale) const noexcept {
        const auto read = [mask](const float *p) {
            return whole ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(mask, p);
        };
        if constexpr (integers)
            sum = _mm512_mul_ps(_mm512_mul_ps(row_scale, read(g.column_scale + j)),
                                _mm512_cvtepi32_ps(_mm512_castps_si512(sum)));
        return g.bias ? _mm512_add_ps(sum, read(g.bias + j)) : sum;
    }
    __m512 row_scale(size_t i) const noexcept {
        return integers ? _mm512_set1_ps(g.row_scale[i]) : _mm512_setzero_ps();
    }

    // Activates rows [from, to) of a block before they are written, between products that do not depend on them.
    template <bool whole>
    void activate_rows(size_t which, size_t from, size_t to) noexcept {
        const place &p = places[which];
        float *row = sums[which] + from * columns;
        for (size_t i = from; i < to; i++, row += columns)
            for (size_t v = 0; v < columns && p.mask[v / 32]; v += 16) {
                const auto mask = static_cast<__mmask16>(p.mask[v / 32] >> v % 32);
                _mm512_store_ps(row + v, value<whole>(_mm512_load_ps(row + v), p.j + v, mask, row_scale(p.i + i)));
            }
        const size_t n = (to - from) * columns;  // as one row
        g.activate({.y = sums[which] + from * columns, .m = 1, .n = n, .ldy = n});
    }

    // Writes rows [from, to) of a block to y, as far as they exist. This runs between the products, and its vector
    // arithmetic takes their port: at k = 128 a bias costs 5 % and ReLU another 5, so both are skipped if not needed.
    void write(size_t which, size_t from, size_t to) noexcept {
        const place &p = places[which];
        if (to > p.rows) to = p.rows;
        if (from >= to) return;
        if (~p.mask[wide] == 0) {
            if (g.activate) activate_rows<true>(which, from, to);
            write_rows<true>(which, from, to);
        } else {
            if (g.activate) activate_rows<false>(which, from, to);
            write_rows<false>(which, from, to);
        }
    }

    template <bool whole>
    void write_rows(size_t which, size_t from, size_t to) noexcept {
        const place &p = places[which];
        const float *row = sums[which] + from * columns;
        auto *y = static_cast<typename Y::element *>(g.y) + (p.i + from) * g.ldy + p.j;
        // Without a residual r is never read, but it must not be computed from NULL.
        const size_t ldr = g.residual ? g.ldr : g.ldy;
        auto *r = static_cast<const typename Y::element *>(g.residual ? g.residual : g.y) + (p.i + from) * ldr + p.j;
        for (size_t i = from; i < to; i++, row += columns, y += g.ldy, r += ldr) {
#pragma GCC unroll 2
            for (size_t v = 0; v < columns; v += 32) {
                if (wide && !whole && !p.mask[v / 32]) break;
                __m512 low = _mm512_load_ps(row + v), high = _mm512_load_ps(row + v + 16);
                if (!g.activate) {
                    const auto mask_low = static_cast<__mmask16>(p.mask[v / 32]);
                    const auto mask_high = static_cast<__mmask16>(p.mask[v / 32] >> 16);
                    low = value<whole>(low, p.j + v, mask_low, row_scale(p.i + i));
                    high = value<whole>(high, p.j + v + 16, mask_high, row_scale(p.i + i));
                }
                if (g.relu) {  // maxps gives its second operand if either is NaN
                    low = _mm512_max_ps(_mm512_setzero_ps(), low);
                    high = _mm512_max_ps(_mm512_setzero_ps(), high);
                }
                Y::template put<whole>(y + v, r + v, p.mask[v / 32], low, high);
            }
        }
    }
};

// Loads a tile of b and, if `prefetch`, prefetches the next one to L1.
template <bool prefetch, int t>
inline void stream_b(const char *b) noexcept {
    stream<t>(b, step_bytes);
    if constexpr (prefetch)
        for (size_t line = 0; line < tile_bytes; line += 64) _mm_prefetch(b + tile_bytes + line, _MM_HINT_T0);
}

// Computes all sums of the 32 (1x4: 16) rows at a for the 32 (64) columns of one block, in `steps` steps. The first
// step stores the sums of the previous block to `previous` (NULL: there is none); `during` runs in each step. b[i] are
// the packed tiles; for columns that do not exist b[i] repeats the first tile. Sums begin with those at `start` (NULL:
// zeros).
template <bool integers, bool prefetch, class F>
inline void block_2x2(const gemm_fused_args &g, const char *a, const char *const (&b)[4], size_t steps, float *previous,
                      const float *start, F &&during) noexcept {
    const size_t lda = g.lda * (integers ? 1 : 2);
    const char *a1 = a + 16 * lda, *b0 = b[0], *b1 = b[1];
    stream_b<prefetch, 6>(b0);
    stream_b<prefetch, 7>(b1);
    load<4>(a, lda);
    load<5>(a1, lda);
    if (previous) store<0>(previous, 128);
    start ? load<0>(start, 128) : zero<0>();
    product<integers, 0, 4, 6>();
    if (previous) store<1>(previous + 16, 128);
    start ? load<1>(start + 16, 128) : zero<1>();
    product<integers, 1, 4, 7>();
    if (previous) store<2>(previous + 512, 128);
    start ? load<2>(start + 512, 128) : zero<2>();
    product<integers, 2, 5, 6>();
    if (previous) store<3>(previous + 528, 128);
    start ? load<3>(start + 528, 128) : zero<3>();
    product<integers, 3, 5, 7>();
    during(0);
    for (size_t s = 1; s < steps; s++) {
        b0 += tile_bytes;
        b1 += tile_bytes;
        a += step_bytes;
        a1 += step_bytes;
        stream_b<prefetch, 6>(b0);
        stream_b<prefetch, 7>(b1);
        load<4>(a, lda);
        load<5>(a1, lda);
        product<integers, 0, 4, 6>();
        product<integers, 1, 4, 7>();
        product<integers, 2, 5, 6>();
        product<integers, 3, 5, 7>();
        during(s);
    }
}

template <bool integers, bool prefetch, class F>
inline void block_1x4(const gemm_fused_args &g, const char *a, const char *const (&b)[4], size_t steps, float *previous,
                      F &&during) noexcept {
    const size_t lda = g.lda * (integers ? 1 : 2);
    const char *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    const bool whole = b2 != b0;  // else at most two tiles are left
    if (previous) {
        store<0>(previous, 256);
        store<1>(previous + 16, 256);
        store<2>(previous + 32, 256);
        store<3>(previous + 48, 256);
    }
    zero<0>();
    zero<1>();
    zero<2>();
    zero<3>();
    for (size_t s = 0; s < steps; s++) {
        stream_b<prefetch, 6>(b0);
        stream_b<prefetch, 7>(b1);
        load<4>(a, lda);
        if (whole) stream_b<prefetch, 5>(b2);
        product<integers, 0, 4, 6>();
        product<integers, 1, 4, 7>();
        if (whole) {
            stream_b<prefetch, 6>(b3);
            product<integers, 2, 4, 5>();
            product<integers, 3, 4, 6>();
        }
        b0 += tile_bytes;
        b1 += tile_bytes;
        b2 += tile_bytes;
        b3 += tile_bytes;
        a += step_bytes;
        during(s);
    }
}

// Prefetches g.ahead to L2, a part of it in each step.
struct fetcher {
    const char *next, *due;
    size_t each;

    fetcher(const gemm_fused_args &g, size_t steps) noexcept
        : next(g.ahead), due(g.ahead), each(g.ahead && steps ? (g.ahead_bytes + steps - 1) / steps : 0) {}
    void step() noexcept {
        for (due += each; next < due; next += 64) _mm_prefetch(next, _MM_HINT_T1);
    }
};

// Computes all columns of 32 (wide: 16) rows at a time. The first rows prefetch b if it is beyond L2, the others
// prefetch g.ahead.
template <bool integers, bool wide, class Y>
struct walker {
    static constexpr size_t size = integers ? 1 : 2, columns = wide ? 64 : 32, block_rows = wide ? 16 : 32;

    epilogue<integers, wide, Y> out;
    fetcher &ahead;
    size_t blocks = 0;  // begun so far

    walker(const gemm_fused_args &g, fetcher &behind_b) noexcept : out(g), ahead(behind_b) {}

    // Computes rows [i0, i0 + rows).
    template <bool prefetch>
    void rows(size_t i0, size_t rows) noexcept {
        const gemm_fused_args &g = out.g;
        const size_t steps = g.k * size / step_bytes;
        const char *a = static_cast<const char *>(g.a) + i0 * g.lda * size;
        const size_t parts = wide || !g.partial ? 1 : (steps + most_steps - 1) / most_steps;
        if (parts > 1 && blocks > 0) {  // add_part() needs the tiles
            finish();
            blocks = 0;
        }
        for (size_t part = 0; part + 1 < parts; part++)
            add_part<prefetch>(a, steps * part / parts, steps * (part + 1) / parts);
        last_part<prefetch>(a, i0, rows, steps * (parts - 1) / parts, steps);
    }

    // Adds the steps [begin, end) of all columns to the sums in `partial`.
    template <bool prefetch>
    void add_part(const char *a, size_t begin, size_t end) noexcept {
        const gemm_fused_args &g = out.g;
        const char *b = static_cast<const char *>(g.b) + begin * tile_bytes;
        float *sums = g.partial;
        for (size_t j = 0; j < g.n; j += 32, b += 2 * g.ldb * size, sums += block_floats) {
            const char *tiles[4] = {b, j + tile_columns < g.n ? b + g.ldb * size : b, b, b};
            block_2x2<integers, prefetch>(g, a + begin * step_bytes, tiles, end - begin, nullptr,
                                          begin ? sums : nullptr, [&](size_t) {
                                              if constexpr (!prefetch) ahead.step();
                                          });
            store<0>(sums, 128);
            store<1>(sums + 16, 128);
            store<2>(sums + 512, 128);
            store<3>(sums + 528, 128);
        }
    }

    // Computes the steps from `begin` on and writes y.
    template <bool prefetch>
    void last_part(const char *a, size_t i0, size_t rows, size_t begin, size_t end) noexcept {
        const gemm_fused_args &g = out.g;
        const size_t steps = end - begin, rows_a_step = (block_rows + steps - 1) / steps;
        const char *b = static_cast<const char *>(g.b) + begin * tile_bytes;
        a += begin * step_bytes;
        for (size_t j = 0; j < g.n; j += columns, b += columns / tile_columns * g.ldb * size) {
            const size_t parity = blocks & 1;
            // Block blocks - 2 waits in sums[parity], block blocks - 1 in the tiles.
            float *previous = blocks > 0 ? out.sums[!parity] : nullptr;
            const bool pending = blocks > 1;
            const auto during = [&](size_t s) {
                if constexpr (!prefetch) ahead.step();
                if (pending) out.write(parity, s * rows_a_step, (s + 1) * rows_a_step);
            };
            const char *tiles[4];
            for (size_t t = 0; t < 4; t++) tiles[t] = j + t * tile_columns < g.n ? b + t * g.ldb * size : b;
            if constexpr (wide) {
                block_1x4<integers, prefetch>(g, a, tiles, steps, previous, during);
            } else {
                const float *start = begin ? g.partial + j / columns * block_floats : nullptr;
                block_2x2<integers, prefetch>(g, a, tiles, steps, previous, start, during);
            }
            out.note(parity, i0, j, rows);
            blocks++;
        }
    }

    // Writes the last two blocks.
    void finish() noexcept {
        const size_t last = (blocks - 1) & 1;
        if (blocks > 1) write_all(!last);
        float *sums = out.sums[last];
        constexpr size_t stride = columns * sizeof(float);
        store<0>(sums, stride);
        store<1>(sums + 16, stride);
        store<2>(sums + (wide ? 32 : 512), stride);
        store<3>(sums + (wide ? 48 : 528), stride);
        write_all(last);
    }
    void write_all(size_t which) noexcept { out.write(which, 0, block_rows); }
};

// Multiplies one row by 64 columns, exactly, as tiles do. The instruction takes unsigned a: it gets a + 128, and 128
// times the sum of b is subtracted.
inline void sum_row(const int8_t *a, const char *const (&b)[4], size_t steps, float *sums) noexcept {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(128));
    __m512i sum[4] = {}, excess[4] = {};
    for (size_t quad = 0; quad < steps * 16; quad++) {
        int four;
        std::memcpy(&four, a + quad * 4, sizeof four);
        const __m512i k = _mm512_xor_si512(_mm512_set1_epi32(four), offset);
#pragma GCC unroll 4
        for (size_t t = 0; t < 4; t++) {
            const __m512i v = _mm512_load_si512(b[t] + quad * 64);
            sum[t] = _mm512_dpbusd_epi32(sum[t], k, v);
            excess[t] = _mm512_dpbusd_epi32(excess[t], offset, v);
        }
    }
    for (size_t t = 0; t < 4; t++) _mm512_store_si512(sums + t * 16, _mm512_sub_epi32(sum[t], excess[t]));
}

// Computes one row of integers without tiles: it reads 93 or, beside a busy hyperthread, 53 GB/s of b from L2, tiles
// read 110 or 26. (bf16 widened in registers would read 70 or 54.)
template <class Y>
void gemm_row(const gemm_fused_args &g) noexcept {
    epilogue<true, true, Y> out(g);
    const size_t steps = g.k / step_bytes;
    const auto *b = static_cast<const char *>(g.b);
    for (size_t j = 0; j < g.n; j += 64, b += 4 * g.ldb) {
        const char *tiles[4];
        for (size_t t = 0; t < 4; t++) tiles[t] = j + t * tile_columns < g.n ? b + t * g.ldb : b;
        sum_row(static_cast<const int8_t *>(g.a), tiles, steps, out.sums[0]);
        out.note(0, 0, j, 1);
        out.write(0, 0, 1);
    }
}

template <bool integers, class Y>
void gemm_to(const gemm_fused_args &g) noexcept {
    if constexpr (integers)
        if (g.m == 1) return gemm_row<Y>(g);
    const size_t tail = g.m % 32, narrow = tail <= 16 ? tail : 0, tall = g.m - narrow;
    const size_t steps = g.k * (integers ? 1 : 2) / step_bytes;
    const size_t of_32 = (g.n + 31) / 32 * steps, of_16 = (g.n + 63) / 64 * steps;  // rows
    const size_t all = (tall + 31) / 32 * of_32 + (narrow > 0 ? of_16 : 0), first = tall > 0 ? of_32 : of_16;
    fetcher ahead(g, g.b_beyond_l2 ? all - first : all);
    if (tall > 0) {
        walker<integers, false, Y> walk(g, ahead);
        const size_t height = tall < 32 ? tall : 32;
        g.b_beyond_l2 ? walk.template rows<true>(0, height) : walk.template rows<false>(0, height);
        for (size_t i = 32; i < tall; i += 32) walk.template rows<false>(i, tall - i < 32 ? tall - i : 32);
        walk.finish();
    }
    if (narrow > 0) {
        walker<integers, true, Y> walk(g, ahead);
        const bool far = tall == 0 && g.b_beyond_l2;
        far ? walk.template rows<true>(tall, narrow) : walk.template rows<false>(tall, narrow);
        walk.finish();
    }
}

template <bool integers>
void gemm(const gemm_fused_args &g) noexcept {
    if (g.m == 0 || g.n == 0) return;
    if (g.y_bf16) {
        g.residual ? gemm_to<integers, to_bf16<true>>(g) : gemm_to<integers, to_bf16<false>>(g);
    } else {
        g.residual ? gemm_to<integers, to_f32<true>>(g) : gemm_to<integers, to_f32<false>>(g);
    }
}

}  // namespace

void gemm_bf16_bf16_32x32_amx(const gemm_fused_args &g) noexcept {
    gemm<false>(g);
}
void gemm_s8_s8_32x32_amx(const gemm_fused_args &g) noexcept {
    gemm<true>(g);
}

// All tiles have 16 rows of 64 bytes: fewer rows of a would save no time, as b streams at the same rate.
void amx_configure() noexcept {
    static constexpr struct alignas(64) {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    asm volatile("ldtilecfg %0" ::"m"(config));
}
void amx_release() noexcept {
    asm volatile("tilerelease");
}

}  // namespace ss1
