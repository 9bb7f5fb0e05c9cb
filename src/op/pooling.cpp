// SPDX-License-Identifier: Apache-2.0
#include "op/pooling.hpp"

#include <algorithm>
#include <cmath>

namespace ss1 {
namespace {

// The tokens of one sequence that are pooled.
struct pooled_tokens {
    const float *rows;
    size_t width, begin, end;
    const float *mask;

    bool has(size_t t) const noexcept { return !mask || mask[t] == 0; }
    // The first of them from `t` on, or `end`.
    size_t first(size_t t) const noexcept {
        while (t < end && !has(t)) ++t;
        return t;
    }
    // Runs f(row, t) for each of them, in order; returns their number.
    template <class F>
    size_t each(F &&f) const noexcept {
        size_t n = 0;
        for (size_t t = begin; t < end; ++t) {
            if (!has(t)) continue;
            f(rows + t * width, t);
            ++n;
        }
        return n;
    }
};

// The larger one; NaN if one of them is NaN.
float maximum(float a, float b) noexcept {
    return b > a || std::isnan(b) ? b : a;
}

// y = (sum of weight(t) h_t) / divisor(sum of the weights).
template <class W, class D>
void average(const pooled_tokens &tokens, float *y, W &&weight, D &&divisor) noexcept {
    float sum = 0;
    std::fill_n(y, tokens.width, 0.0f);
    const size_t n = tokens.each([&](const float *row, size_t t) {
        const float w = weight(t);
        sum += w;
        for (size_t i = 0; i < tokens.width; ++i) y[i] += w * row[i];
    });
    if (n == 0) return;
    const float by = divisor(sum);
    for (size_t i = 0; i < tokens.width; ++i) y[i] /= by;
}

void pool_one(const pooled_tokens &tokens, pooling_mode mode, float *y) noexcept {
    const auto one = [](size_t) { return 1.0f; };
    const auto itself = [](float sum) { return sum; };
    switch (mode) {
        case pooling_mode::mean:
            return average(tokens, y, one, itself);
        case pooling_mode::mean_sqrt_len:
            return average(tokens, y, one, [](float sum) { return std::sqrt(sum); });
        case pooling_mode::weighted_mean:
            return average(
                tokens, y, [](size_t t) { return static_cast<float>(t + 1); }, itself);
        case pooling_mode::cls: {
            const size_t first = tokens.first(tokens.begin);
            std::copy_n(tokens.rows + (first < tokens.end ? first : 0) * tokens.width, tokens.width, y);
            return;
        }
        case pooling_mode::last:
        case pooling_mode::max:
            break;
    }
    std::fill_n(y, tokens.width, 0.0f);
    bool first = true;
    tokens.each([&](const float *row, size_t) {
        if (first || mode == pooling_mode::last) std::copy_n(row, tokens.width, y);
        if (!first && mode == pooling_mode::max)
            for (size_t i = 0; i < tokens.width; ++i) y[i] = maximum(y[i], row[i]);
        first = false;
    });
}

}  // namespace

void pool(const team &who, const pool_args &args) {
    const size_t n = args.sequences.size(), width = args.width;
    if (n == 0) return;
    const size_t rows = args.sequences.back().first + args.sequences.back().length;
    parallel_ranges(who, n, rows / n * width * args.modes.size(), [&](size_t begin, size_t end) {
        for (size_t s = begin; s < end; ++s) {
            const sequence &of = args.sequences[s];
            const size_t skip = args.skip ? static_cast<size_t>(args.skip[s]) : 0;
            pooled_tokens tokens = {args.rows + of.first * width, width, 0, of.length, of.mask};
            if (skip) tokens.begin = std::min(tokens.first(0) + skip, tokens.end);  // padding may stand on the left
            float *y = args.y + s * args.modes.size() * width;
            for (const pooling_mode mode : args.modes) {
                pool_one(tokens, mode, y);
                y += width;
            }
        }
    });
}

namespace {

float sparse_score(float x, bool twice) noexcept {
    const float once = std::log1p(x < 0 ? 0 : x);
    return twice ? std::log1p(once) : once;
}

}  // namespace

void pool_words(const team &who, const word_args &args) {
    parallel_ranges(who, args.words, args.rows, [&](size_t first, size_t last) {
        for_rows(args.sequences, args.begin, args.begin + args.rows, [&](size_t s, size_t t, size_t row) {
            const float *mask = args.sequences[s].mask, *x = args.scores + (row - args.begin) * args.words;
            float *y = args.y + s * args.words;
            if (mask && mask[t] != 0) return;
            if (args.mode == word_pooling::max)
                for (size_t i = first; i < last; ++i) y[i] = maximum(y[i], x[i]);
            else
                for (size_t i = first; i < last; ++i) y[i] += sparse_score(x[i], args.twice);
        });
    });
}

void finish_words(const team &who, const word_args &args) {
    if (args.mode != word_pooling::max) return;
    const size_t n = args.sequences.size() * args.words;
    parallel_ranges(who, n, 4, [&](size_t first, size_t last) {
        for (size_t i = first; i < last; ++i) args.y[i] = sparse_score(args.y[i], args.twice);
    });
}

void scale_to_length_one(float *x, size_t m, size_t n) noexcept {
    for (float *end = x + m * n; x < end; x += n) {
        double squares = 0;
        for (size_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
        const auto length = static_cast<float>(std::max(std::sqrt(squares), 1e-12));
        for (size_t i = 0; i < n; ++i) x[i] /= length;
    }
}

}  // namespace ss1
