// SPDX-License-Identifier: Apache-2.0
#include "op/rotary.hpp"

#include <algorithm>
#include <cmath>

#include "op/pack.hpp"

namespace ss1 {
namespace {

// A loop without branches over distinct memory, which compilers vectorise.
void turn(float *__restrict a, float *__restrict b, const float *__restrict cosines, const float *__restrict sines,
          size_t pairs) noexcept {
    for (size_t k = 0; k < pairs; ++k) {
        const float x = a[k], y = b[k];
        a[k] = x * cosines[k] - y * sines[k];
        b[k] = y * cosines[k] + x * sines[k];
    }
}

void turn_row(const rotary_args &args, float *row, const float *cosines) noexcept {
    const size_t pairs = args.size / 2;
    for (size_t h = 0; h < args.heads; ++h, row += args.head_size)
        turn(row, row + pairs, cosines, cosines + pairs, pairs);
}

// Some heads and pairs at a time are widened, turned and rounded once.
void turn_row(const rotary_args &args, uint16_t *row, const float *cosines) noexcept {
    constexpr size_t most = 1024;
    const size_t pairs = args.size / 2, n = std::min(most, pairs), heads = most / n, ld = args.head_size;
    float a[most], b[most];
    for (size_t k = 0; k < pairs; k += n)
        for (size_t h = 0; h < args.heads; h += heads) {
            const size_t columns = std::min(n, pairs - k), m = std::min(heads, args.heads - h);
            uint16_t *first = row + h * ld + k;
            widen(first, ld, m, columns, a);
            widen(first + pairs, ld, m, columns, b);
            for (size_t i = 0; i < m; ++i)
                turn(a + i * columns, b + i * columns, cosines + k, cosines + pairs + k, columns);
            store_args round = {
                .c = a, .y = first, .residual = nullptr, .m = m, .n = columns, .ldc = columns, .ldy = ld, .ldr = 0};
            args.round->run(round);
            round.c = b;
            round.y = first + pairs;
            args.round->run(round);
        }
}

template <class T>
void turn_rows(const rotary_args &args, size_t begin, size_t end) noexcept {
    for_rows(args.sequences, args.first + begin, args.first + end, [&](size_t, size_t t, size_t row) {
        turn_row(args, static_cast<T *>(args.rows) + (row - args.first) * args.ld, args.table + t * args.size);
    });
}

}  // namespace

void make_rotary_table(double theta, double factor, size_t tokens, size_t size, float *table) noexcept {
    const size_t pairs = size / 2;
    for (size_t k = 0; k < pairs; ++k) {
        const float exponent = static_cast<float>(2 * k) / static_cast<float>(size);
        const auto power =
            static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta * factor)), exponent));
        const float step = 1 / power / static_cast<float>(std::pow(factor, 2.0 / static_cast<double>(size)));
        for (size_t p = 0; p < tokens; ++p) {
            const double angle = static_cast<double>(static_cast<float>(p) * step);
            table[p * size + k] = static_cast<float>(std::cos(angle));
            table[p * size + pairs + k] = static_cast<float>(std::sin(angle));
        }
    }
}

void rotate(const team &who, const rotary_args &args) {
    parallel_ranges(who, args.m, args.heads * args.size, [&](size_t begin, size_t end) {
        args.type == dtype::f32 ? turn_rows<float>(args, begin, end) : turn_rows<uint16_t>(args, begin, end);
    });
}

}  // namespace ss1
