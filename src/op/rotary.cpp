// SPDX-License-Identifier: Apache-2.0
#include "op/rotary.hpp"

#include <cmath>

#include "half.hpp"

namespace ss1 {
namespace {

// Loops without branches and with pointers to distinct memory, which compilers vectorise.
void turn(float *__restrict a, float *__restrict b, const float *__restrict cosines, const float *__restrict sines,
          size_t pairs) noexcept {
    for (size_t k = 0; k < pairs; ++k) {
        const float x = a[k], y = b[k];
        a[k] = x * cosines[k] - y * sines[k];
        b[k] = y * cosines[k] + x * sines[k];
    }
}

void turn(uint16_t *__restrict a, uint16_t *__restrict b, const float *__restrict cosines,
          const float *__restrict sines, size_t pairs) noexcept {
    for (size_t k = 0; k < pairs; ++k) {
        const float x = bf16_to_f32(a[k]), y = bf16_to_f32(b[k]);
        a[k] = bf16_from_f32(x * cosines[k] - y * sines[k]);
        b[k] = bf16_from_f32(y * cosines[k] + x * sines[k]);
    }
}

template <class T>
void turn_rows(const rotary_args &args, size_t begin, size_t end) noexcept {
    const size_t pairs = args.size / 2;
    for_rows(args.sequences, args.first + begin, args.first + end, [&](size_t, size_t t, size_t row) {
        T *head = static_cast<T *>(args.rows) + (row - args.first) * args.ld;
        const float *cosines = args.table + t * args.size;
        for (size_t h = 0; h < args.heads; ++h, head += args.head_size)
            turn(head, head + pairs, cosines, cosines + pairs, pairs);
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
