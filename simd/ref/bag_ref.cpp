// SPDX-License-Identifier: Apache-2.0
// The specification of bag, checks included, value by value.
#include <cassert>
#include <cstring>

#include "half.hpp"
#include "kernels.hpp"
#include "robe.hpp"

namespace ss1 {
namespace {

template <class T>
T load(const uint8_t *p) noexcept {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

// Returns value j of row x.
template <row_format format>
float value(const bag_args &args, size_t x, size_t j) noexcept {
    const uint8_t *row = static_cast<const uint8_t *>(args.table) + x * row_bytes(format, args.d);
    if constexpr (format == row_format::f32) {
        return load<float>(row + 4 * j);
    } else if constexpr (format == row_format::bf16) {
        return bf16_to_f32(load<uint16_t>(row + 2 * j));
    } else if constexpr (format == row_format::f16) {
        return f16_to_f32(load<uint16_t>(row + 2 * j));
    } else if constexpr (format == row_format::int8) {
        return load<float>(row + args.d) * static_cast<float>(row[j]) + load<float>(row + args.d + 4);
    } else if constexpr (format == row_format::int4) {
        const uint8_t *scale_bias = row + (args.d + 1) / 2;
        const int q = row[j / 2] >> (j % 2 * 4) & 15;
        return f16_to_f32(load<uint16_t>(scale_bias)) * static_cast<float>(q) +
               f16_to_f32(load<uint16_t>(scale_bias + 2));
    } else {
        const size_t offset = robe_offset(args.robe, robe_mix(args.robe.table_hash, x), j / args.robe.chunk);
        return static_cast<const float *>(args.table)[offset + j % args.robe.chunk];
    }
}

bool are_rows(const bag_args &args, int64_t begin, int64_t end) noexcept {
    for (int64_t p = begin; p < end; p++)
        if (static_cast<uint64_t>(args.indices[p]) >= args.rows) return false;
    return true;
}

template <row_format format>
bool bag(const bag_args &args) noexcept {
    assert(args.batch <= 1 || args.ldy >= args.d);
    assert(format != row_format::robe || args.batch == 0 || args.d % args.robe.chunk == 0);
    int64_t before = 0;
    for (size_t b = 0; b < args.batch; b++) {
        const int64_t begin = args.offsets[b], end = b + 1 < args.batch ? args.offsets[b + 1] : args.end;
        if (args.checked && (begin < before || end < begin || end > args.end || !are_rows(args, begin, end)))
            return false;
        for (size_t j = 0; j < args.d; j++) {
            float sum = 0.0f;
            for (int64_t p = begin; p < end; p++)
                sum += (args.weights ? args.weights[p] : 1.0f) *
                       value<format>(args, static_cast<size_t>(args.indices[p]), j);
            args.y[b * args.ldy + j] = args.mean && begin < end ? sum / static_cast<float>(end - begin) : sum;
        }
        before = end;
    }
    return true;
}

}  // namespace

bool bag_f32_ref(const bag_args &args) noexcept {
    return bag<row_format::f32>(args);
}
bool bag_bf16_ref(const bag_args &args) noexcept {
    return bag<row_format::bf16>(args);
}
bool bag_f16_ref(const bag_args &args) noexcept {
    return bag<row_format::f16>(args);
}
bool bag_int8_ref(const bag_args &args) noexcept {
    return bag<row_format::int8>(args);
}
bool bag_int4_ref(const bag_args &args) noexcept {
    return bag<row_format::int4>(args);
}
bool bag_robe_ref(const bag_args &args) noexcept {
    return bag<row_format::robe>(args);
}

}  // namespace ss1
