// SPDX-License-Identifier: Apache-2.0
// Embedding bags through Highway, with the sums in registers. Rows may be anywhere in memory, so their lines are
// prefetched some indices ahead, across bags; an index is checked when its row is prefetched.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/bag_hwy.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

using bytes = hn::Rebind<uint8_t, floats>;  // 8 bits for each lane
using ints = hn::RebindToSigned<floats>;

template <class T>
HWY_INLINE T load_scalar(const uint8_t *p) {
    T value;
    __builtin_memcpy(&value, p, sizeof value);
    return value;
}

// Returns the bytes q[0, count), for count from 1 to 7, by loads that may overlap.
HWY_INLINE uint64_t few_bytes(const uint8_t *q, size_t count) {
    if (count >= 4) return load_scalar<uint32_t>(q) | uint64_t{load_scalar<uint32_t>(q + count - 4)} << 8 * (count - 4);
    return q[0] | uint64_t{q[count / 2]} << 8 * (count / 2) | uint64_t{q[count - 1]} << 8 * (count - 1);
}

// Reads `lanes` bytes as integers; `partial`: at most `count` of them.
template <bool partial>
HWY_INLINE hn::Vec<ints> read_bytes(const uint8_t *q, size_t count) {
    if (!partial || count >= lanes) return hn::PromoteTo(ints(), hn::LoadU(bytes(), q));
#if HWY_TARGET == HWY_AVX3
    return hn::PromoteTo(ints(), hn::MaskedLoad(hn::FirstN(bytes(), count), bytes(), q));
#else
    static_assert(lanes <= 8);
    const uint64_t copy = few_bytes(q, count);
    return hn::PromoteTo(ints(), hn::LoadU(bytes(), reinterpret_cast<const uint8_t *>(&copy)));
#endif
}

template <class T, bool partial>
HWY_INLINE auto load_values(const uint8_t *at, size_t count) {
    const T *p = reinterpret_cast<const T *>(at);
    if constexpr (partial) {
        return load_at(p, 0, count);
    } else {
        return hn::LoadU(hn::Rebind<T, floats>(), p);
    }
}

// The formats of rows. A step reads the columns of `vectors` vectors; column j starts offset(j) bytes into the row. A
// quantised row of n values has a scale and a bias.
struct rows_f32 {
    static constexpr row_format format = row_format::f32;
    static constexpr size_t vectors = 1;
    static constexpr size_t offset(size_t j) { return 4 * j; }
    template <bool partial>
    static HWY_INLINE void read(const uint8_t *at, size_t count, vec *out) {
        out[0] = load_values<float, partial>(at, count);
    }
};
struct rows_bf16 {
    static constexpr row_format format = row_format::bf16;
    static constexpr size_t vectors = 1;
    static constexpr size_t offset(size_t j) { return 2 * j; }
    template <bool partial>
    static HWY_INLINE void read(const uint8_t *at, size_t count, vec *out) {
        const auto wide = hn::PromoteTo(words(), load_values<uint16_t, partial>(at, count));
        out[0] = hn::BitCast(d, hn::ShiftLeft<16>(wide));
    }
};
struct rows_f16 {
    static constexpr row_format format = row_format::f16;
    static constexpr size_t vectors = 1;
    static constexpr size_t offset(size_t j) { return 2 * j; }
    template <bool partial>
    static HWY_INLINE void read(const uint8_t *at, size_t count, vec *out) {
        out[0] = from_f16(load_values<uint16_t, partial>(at, count));
    }
};
struct rows_int8 {
    static constexpr row_format format = row_format::int8;
    static constexpr size_t vectors = 1;
    static constexpr size_t offset(size_t j) { return j; }
    static HWY_INLINE vec scale(const uint8_t *row, size_t n) { return hn::Set(d, load_scalar<float>(row + n)); }
    static HWY_INLINE vec bias(const uint8_t *row, size_t n) { return hn::Set(d, load_scalar<float>(row + n + 4)); }
    template <bool partial>
    static HWY_INLINE void read(const uint8_t *at, size_t count, vec *out) {
        out[0] = hn::ConvertTo(d, read_bytes<partial>(at, count));
    }
};
// The low halves of the bytes of a step are its even columns, the high halves the odd ones: a store interleaves them.
struct rows_int4 {
    static constexpr row_format format = row_format::int4;
    static constexpr size_t vectors = 2;
    static constexpr size_t offset(size_t j) { return j / 2; }
    static HWY_INLINE vec f16(const uint8_t *p) { return from_f16(hn::Set(halves(), load_scalar<uint16_t>(p))); }
    static HWY_INLINE vec scale(const uint8_t *row, size_t n) { return f16(row + (n + 1) / 2); }
    static HWY_INLINE vec bias(const uint8_t *row, size_t n) { return f16(row + (n + 1) / 2 + 2); }
    template <bool partial>
    static HWY_INLINE void read(const uint8_t *at, size_t count, vec *out) {
        const auto both = read_bytes<partial>(at, (count + 1) / 2);
        out[0] = hn::ConvertTo(d, hn::And(both, hn::Set(ints(), 15)));
        out[1] = hn::ConvertTo(d, hn::ShiftRight<4>(both));
    }
};
template <class Rows>
constexpr bool is_quantised = Rows::format == row_format::int8 || Rows::format == row_format::int4;
template <class Rows>
constexpr size_t step_columns = Rows::vectors *lanes;

// `whole`: all columns of the step exist.
template <class Rows, bool whole>
HWY_INLINE void store_step(const vec *sum, float *y, size_t j, size_t n) {
    if constexpr (Rows::vectors == 1 && whole) {
        hn::StoreU(sum[0], d, y + j);
    } else if constexpr (Rows::vectors == 1) {
        store_at(sum[0], y, j, n);
    } else if (whole || HWY_LIKELY(j + 2 * lanes <= n)) {
        hn::StoreInterleaved2(sum[0], sum[1], d, y + j);
    } else {
        HWY_ALIGN float copy[2 * lanes];
        hn::StoreInterleaved2(sum[0], sum[1], d, copy);
        store_at(hn::Load(d, copy), y, j, n);
        if (j + lanes < n) store_at(hn::Load(d, copy + lanes), y, j + lanes, n);
    }
}

// Prefetches 4 KiB ahead, but at most 64 rows and at least 16, and of rows above 512 bytes 8 KiB. 64 rows ahead take
// 0.6 of the time of 16 for rows of 16 to 32 bytes (Zen 5, bench/RESULTS.md). 8 to 64 rows were equally fast within
// noise for rows of 72 to 512 bytes (4 GB/s on a shared Xeon).
struct look_ahead {
    const uint8_t *table;
    size_t row;  // bytes
    int64_t distance;
    float one = 1.0f;
    const float *weight;
    size_t weight_step;

    explicit look_ahead(const bag_args &args, row_format format)
        : table(static_cast<const uint8_t *>(args.table)),
          row(row_bytes(format, args.d)),
          distance(static_cast<int64_t>(row <= 512   ? HWY_MAX(16, HWY_MIN(4096 / row, 64))
                                        : row < 2048 ? 8192 / row
                                                     : 4)),
          weight(args.weights ? args.weights : &one),
          weight_step(args.weights ? 1 : 0) {}
    look_ahead(const look_ahead &) = delete;

    // Prefetches the row of index p. Returns false if the index is not below args.rows.
    template <bool checked>
    HWY_INLINE bool ask(const bag_args &args, int64_t p) const {
        constexpr size_t line = 64;
        const auto x = static_cast<uint64_t>(args.indices[p]);
        if (checked && HWY_UNLIKELY(x >= args.rows)) return false;
        const uint8_t *first = table + x * row, *end = first + row;
        first -= reinterpret_cast<uintptr_t>(first) % line;
        for (; first < end; first += line) hwy::Prefetch(first);
        return true;
    }
};

// Sums the columns of `steps` steps of one bag, from column j on; the last of them begins at column `last`. The pass
// with j = 0 prefetches coming rows.
template <class Rows, size_t steps, bool partial, bool checked>
HWY_INLINE bool sum_columns(const bag_args &args, const look_ahead &ahead, size_t b, int64_t begin, int64_t end,
                            size_t j, size_t last) {
    static_assert(!partial || steps == 1);
    constexpr size_t vectors = steps * Rows::vectors;
    const size_t left = args.d - j;
    vec sum[vectors], biases = hn::Zero(d);
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++) sum[v] = hn::Zero(d);
    for (int64_t p = begin; p < end; p++) {
        if (j == 0 && p + ahead.distance < args.end && !ahead.ask<checked>(args, p + ahead.distance)) return false;
        const uint8_t *row = ahead.table + static_cast<uint64_t>(args.indices[p]) * ahead.row;
        vec weight = hn::Set(d, ahead.weight[static_cast<size_t>(p) * ahead.weight_step]);
        if constexpr (is_quantised<Rows>) {
            biases = hn::MulAdd(weight, Rows::bias(row, args.d), biases);
            weight = hn::Mul(weight, Rows::scale(row, args.d));
        }
#pragma GCC unroll 16
        for (size_t s = 0; s < steps; s++) {
            const uint8_t *at =
                row + (s + 1 < steps ? Rows::offset(j) + Rows::offset(s * step_columns<Rows>) : Rows::offset(last));
            vec values[Rows::vectors];
            Rows::template read<partial>(at, left, values);
            for (size_t v = 0; v < Rows::vectors; v++)
                sum[s * Rows::vectors + v] = hn::MulAdd(values[v], weight, sum[s * Rows::vectors + v]);
        }
    }
    const vec count = hn::Set(d, args.mean && begin < end ? static_cast<float>(end - begin) : 1.0f);
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++) {
        if (is_quantised<Rows>) sum[v] = hn::Add(sum[v], biases);
        if (args.mean) sum[v] = hn::Div(sum[v], count);
    }
#pragma GCC unroll 16
    for (size_t s = 0; s < steps; s++)
        store_step<Rows, !partial>(sum + s * Rows::vectors, args.y + b * args.ldy,
                                   s + 1 < steps ? j + s * step_columns<Rows> : last, args.d);
    return true;
}

// Sums one bag by passes of `steps` steps that are all whole. If d is no multiple of a step, the last step of a single
// pass, or the last of several passes, begins further to the left, and sums some columns twice, to the same bits.
template <class Rows, size_t steps, bool checked>
HWY_INLINE bool sum_bag_by_overlap(const bag_args &args, const look_ahead &ahead, size_t b, int64_t begin,
                                   int64_t end) {
    constexpr size_t step = step_columns<Rows>, to_last = (steps - 1) * step;
    if (args.d <= to_last + step)
        return sum_columns<Rows, steps, false, checked>(args, ahead, b, begin, end, 0, args.d - step);
    if (!sum_columns<Rows, steps, false, checked>(args, ahead, b, begin, end, 0, to_last)) return false;
    for (size_t j = to_last + step; j < args.d; j += to_last + step) {
        const size_t from = HWY_MIN(j, args.d - to_last - step);
        sum_columns<Rows, steps, false, checked>(args, ahead, b, begin, end, from, from + to_last);
    }
    return true;
}

// Sums one bag by passes of `steps` steps; the remaining columns step by step.
template <class Rows, size_t steps, bool checked>
HWY_INLINE bool sum_bag(const bag_args &args, const look_ahead &ahead, size_t b, int64_t begin, int64_t end) {
    constexpr size_t width = steps * step_columns<Rows>, to_last = width - step_columns<Rows>;
    const size_t together = args.d / width * width;
    // Separate from the loop, so that the compiler knows j = 0.
    if (together && !sum_columns<Rows, steps, false, checked>(args, ahead, b, begin, end, 0, to_last)) return false;
    for (size_t j = width; j < together; j += width)
        sum_columns<Rows, steps, false, checked>(args, ahead, b, begin, end, j, j + to_last);
    for (size_t j = together; j < args.d; j += step_columns<Rows>)
        if (!sum_columns<Rows, 1, true, checked>(args, ahead, b, begin, end, j, j)) return false;
    return true;
}

template <class Rows, size_t steps, bool checked, bool overlap>
HWY_NOINLINE bool bags(const bag_args &args) {
    const look_ahead ahead(args, Rows::format);
    int64_t begin = args.offsets[0];
    if (checked && (begin < 0 || begin > args.end)) return false;
    for (int64_t p = begin; p < args.end && p < begin + ahead.distance; p++)
        if (!ahead.ask<checked>(args, p)) return false;
    for (size_t b = 0; b < args.batch; b++) {
        const int64_t end = b + 1 < args.batch ? args.offsets[b + 1] : args.end;
        if (checked && (end < begin || end > args.end)) return false;
        if (overlap ? !sum_bag_by_overlap<Rows, steps, checked>(args, ahead, b, begin, end)
                    : !sum_bag<Rows, steps, checked>(args, ahead, b, begin, end))
            return false;
        begin = end;
    }
    return true;
}

// Indices are always checked: half of the code for less than one cycle an index.
template <class Rows, size_t steps>
HWY_INLINE bool bags_by_overlap(const bag_args &args, size_t wanted) {
    if constexpr (steps > 2)
        if (wanted < steps) return bags_by_overlap<Rows, steps - 1>(args, wanted);
    return bags<Rows, steps, true, true>(args);
}

// The most steps that divide the columns, or one.
template <class Rows, bool checked, size_t steps>
HWY_INLINE bool bags_by_steps(const bag_args &args) {
    if constexpr (steps > 1)
        if (args.d % (steps * step_columns<Rows>) != 0) return bags_by_steps<Rows, checked, steps / 2>(args);
    return bags<Rows, steps, checked, false>(args);
}

// A power of two of steps, which is usual, has a form without overlap: it is up to a third faster. An odd column of
// int4 begins within a byte.
template <class Rows, bool checked>
HWY_INLINE bool choose_steps(const bag_args &args) {
    constexpr size_t most = (HWY_TARGET == HWY_AVX3 ? 16 : 8) / Rows::vectors, step = step_columns<Rows>;
    const size_t steps = (args.d + step - 1) / step;
    const bool even = args.d % step == 0 && (steps % most == 0 || (steps < most && (steps & (steps - 1)) == 0));
    if (even || args.d < step || args.d % Rows::vectors != 0) return bags_by_steps<Rows, checked, most>(args);
    constexpr size_t at_once = HWY_MIN(most, 8);
    const size_t passes = (steps + at_once - 1) / at_once;
    return bags_by_overlap<Rows, at_once>(args, (steps + passes - 1) / passes);
}

// `narrower` is the kernel of shorter vectors, or null: it takes the rows of 4 columns and more that do not fill a step
// here, because masked loads of short rows take twice the time of whole ones (Zen 5, 8 columns). SSE4 has no
// instructions for masked loads or for f16, which int4 rows hold, too.
template <class Rows>
HWY_NOINLINE bool bag(const bag_args &args, bool (*narrower)(const bag_args &) noexcept = nullptr) {
    if (args.batch == 0) return true;
    if (narrower && args.d >= 4 && args.d < step_columns<Rows>) return narrower(args);
    return args.checked ? choose_steps<Rows, true>(args) : choose_steps<Rows, false>(args);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
bool bag_f32_hwy_avx512(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f32>(args, bag_f32_hwy_avx2);
}
bool bag_bf16_hwy_avx512(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_bf16>(args, bag_bf16_hwy_avx2);
}
bool bag_f16_hwy_avx512(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f16>(args, bag_f16_hwy_avx2);
}
bool bag_int8_hwy_avx512(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int8>(args, bag_int8_hwy_avx2);
}
bool bag_int4_hwy_avx512(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int4>(args, bag_int4_hwy_avx2);
}
#elif HWY_TARGET == HWY_AVX2
bool bag_f32_hwy_avx2(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f32>(args, bag_f32_hwy_sse4);
}
bool bag_bf16_hwy_avx2(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_bf16>(args, bag_bf16_hwy_sse4);
}
bool bag_f16_hwy_avx2(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f16>(args);
}
bool bag_int8_hwy_avx2(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int8>(args, bag_int8_hwy_sse4);
}
bool bag_int4_hwy_avx2(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int4>(args);
}
#elif HWY_TARGET == HWY_SSE4
bool bag_f32_hwy_sse4(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f32>(args);
}
bool bag_bf16_hwy_sse4(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_bf16>(args);
}
bool bag_f16_hwy_sse4(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f16>(args);
}
bool bag_int8_hwy_sse4(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int8>(args);
}
bool bag_int4_hwy_sse4(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int4>(args);
}
#elif HWY_TARGET == HWY_NEON
bool bag_f32_hwy_neon(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f32>(args);
}
bool bag_bf16_hwy_neon(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_bf16>(args);
}
bool bag_f16_hwy_neon(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_f16>(args);
}
bool bag_int8_hwy_neon(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int8>(args);
}
bool bag_int4_hwy_neon(const bag_args &args) noexcept {
    return HWY_NAMESPACE::bag<HWY_NAMESPACE::rows_int4>(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
