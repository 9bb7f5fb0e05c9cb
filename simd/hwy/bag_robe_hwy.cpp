// SPDX-License-Identifier: Apache-2.0
// Bags of ROBE-Z tables through Highway. A row is hashed when its lines are prefetched, some indices before it is
// added; the addresses of its vectors are kept until then.
#include "hwy/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hwy/bag_robe_hwy.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/lanes-inl.h"
#include "kernels.hpp"
#include "robe.hpp"

HWY_BEFORE_NAMESPACE();
namespace ss1 {
namespace HWY_NAMESPACE {

constexpr int64_t distance = 16;  // rows to prefetch ahead

HWY_INLINE size_t slot(int64_t p) {
    return static_cast<size_t>(p) % distance;
}

// Sums columns [j, j + vectors * Lanes(D)) of all bags; a chunk is a multiple of D's lanes.
template <class D, size_t vectors>
struct robe_columns {
    static constexpr size_t width = hn::MaxLanes(D());
    const bag_args &args;
    size_t j, chunk, skip;                   // chunk holds column j, after `skip` others
    const float *places[distance][vectors];  // addresses of the vectors of the coming rows

    // Hashes the row of index p and prefetches its lines. Returns false if the index is not below args.rows.
    HWY_INLINE bool ask(int64_t p) {
        const robe_layout &robe = args.robe;
        const auto x = static_cast<uint64_t>(args.indices[p]);
        if (HWY_UNLIKELY(args.checked && x >= args.rows)) return false;
        const uint64_t row_hash = robe_mix(robe.table_hash, x);
        size_t z = chunk, before = skip;  // the next chunk, and columns to skip in it
        size_t left = 0;                  // columns left in this chunk
        const float *at = nullptr;
        for (size_t v = 0; v < vectors; v++) {
            if (left == 0) {
                at = static_cast<const float *>(args.table) + robe_offset(robe, row_hash, z++) + before;
                left = robe.chunk - before;
                before = 0;
            }
            places[slot(p)][v] = at;
            hwy::Prefetch(at);
            at += width;
            left -= width;
        }
        return true;
    }

    HWY_INLINE bool sum(size_t b, int64_t begin, int64_t end) {
        const D tag;
        hn::Vec<D> sums[vectors];
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) sums[v] = hn::Zero(tag);
        for (int64_t p = begin; p < end; p++) {
            const auto weight = hn::Set(tag, args.weights ? args.weights[p] : 1.0f);
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++)
                sums[v] = hn::MulAdd(hn::LoadU(tag, places[slot(p)][v]), weight, sums[v]);
            if (p + distance < args.end && !ask(p + distance)) return false;
        }
        const auto count = hn::Set(tag, static_cast<float>(end - begin));
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) {
            if (args.mean && begin < end) sums[v] = hn::Div(sums[v], count);
            hn::StoreU(sums[v], tag, args.y + b * args.ldy + j + v * width);
        }
        return true;
    }
};

template <class D, size_t vectors>
HWY_NOINLINE bool robe_bags(const bag_args &args, size_t j) {
    robe_columns<D, vectors> columns{args, j, j / args.robe.chunk, j % args.robe.chunk, {}};
    int64_t begin = args.offsets[0];
    if (args.checked && (begin < 0 || begin > args.end)) return false;
    for (int64_t p = begin; p < args.end && p < begin + distance; p++)
        if (!columns.ask(p)) return false;
    for (size_t b = 0; b < args.batch; b++) {
        const int64_t end = b + 1 < args.batch ? args.offsets[b + 1] : args.end;
        if (args.checked && (end < begin || end > args.end)) return false;
        if (!columns.sum(b, begin, end)) return false;
        begin = end;
    }
    return true;
}

template <class D>
HWY_NOINLINE bool robe_groups(const bag_args &args) {
    constexpr size_t width = hn::MaxLanes(D());
    for (size_t j = 0; j < args.d;) {
        const size_t left = (args.d - j) / width, vectors = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (!(vectors == 8   ? robe_bags<D, 8>(args, j)
              : vectors == 4 ? robe_bags<D, 4>(args, j)
              : vectors == 2 ? robe_bags<D, 2>(args, j)
                             : robe_bags<D, 1>(args, j)))
            return false;
        j += vectors * width;
    }
    return true;
}

HWY_NOINLINE bool robe(const bag_args &args) {
    if (args.batch == 0) return true;
    if constexpr (lanes > 8)
        if (args.robe.chunk == 8) return robe_groups<hn::CappedTag<float, 8>>(args);
    return robe_groups<floats>(args);
}

}  // namespace HWY_NAMESPACE

#if HWY_TARGET == HWY_AVX3
bool bag_robe_hwy_avx512(const bag_args &args) noexcept {
    return HWY_NAMESPACE::robe(args);
}
#elif HWY_TARGET == HWY_AVX2
bool bag_robe_hwy_avx2(const bag_args &args) noexcept {
    return HWY_NAMESPACE::robe(args);
}
#elif HWY_TARGET == HWY_SSE4
bool bag_robe_hwy_sse4(const bag_args &args) noexcept {
    return HWY_NAMESPACE::robe(args);
}
#elif HWY_TARGET == HWY_NEON
bool bag_robe_hwy_neon(const bag_args &args) noexcept {
    return HWY_NAMESPACE::robe(args);
}
#endif

}  // namespace ss1
HWY_AFTER_NAMESPACE();
