// SPDX-License-Identifier: Apache-2.0
// Checks every row of the kernel tables against its formula in double; the bounds follow from the number of roundings.
// linear_kernels_test.cpp checks the families that linear layers consist of.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numbers>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/round.hpp"
#include "half.hpp"
#include "kernel_check.hpp"
#include "op/split.hpp"
#include "robe.hpp"

using namespace ss1;
using namespace ss1_test;

namespace {

// The instruction sets that this machine promises to have: SS1_TEST_REQUIRE_ISA, names separated by commas.
std::vector<std::string> required_isas() {
    const char *list = std::getenv("SS1_TEST_REQUIRE_ISA");
    std::istringstream names(list ? list : "");
    std::vector<std::string> required;
    for (std::string word; std::getline(names, word, ',');) required.push_back(word);
    return required;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------- activation

namespace {

double sigmoid(double x) {
    return 1 / (1 + std::exp(-x));
}

double apply(activation what, double x) {
    const double z = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    if (x == -HUGE_VAL && what != activation::tanh) return 0;  // the limit of x * p(x) with p -> 0
    switch (what) {
        case activation::relu:
            return x < 0 ? 0 : x;
        case activation::gelu:
        case activation::gelu_bf16:
            return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
        case activation::gelu_tanh:
            return x * sigmoid(2 * z);
        case activation::tanh:
            return std::tanh(x);
        case activation::sigmoid:
            return sigmoid(x);
        case activation::silu:
            return x * sigmoid(x);
        case activation::none:
            break;
    }
    return x;
}

// 4 ulp, and in the left tail of gelu_tanh also the error from rounding its argument. A denormal result may become
// zero, and so may a denormal factor of x.
double activation_bound(activation what, double x) {
    if (what == activation::gelu_bf16) return 0x1p-14 + 0x1p-18 * std::abs(x);
    const double z = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    const double ulps = what == activation::gelu_tanh && x < 0 ? 4 + 6 * std::min(std::abs(z), 100.0) : 4;
    const bool product = what == activation::gelu_tanh || what == activation::silu;
    return ulps * FLT_EPSILON * std::abs(apply(what, x)) +
           FLT_MIN * (product ? std::clamp(std::abs(x), 1.0, 200.0) : 1);
}

// Returns floats of all magnitudes and signs, dense where the functions bend, and special values.
std::vector<float> activation_grid() {
    std::vector<float> grid = {0.0f,     -0.0f,     nan_value, infinity,  -infinity, FLT_MIN,      -FLT_MIN, FLT_MAX,
                               -FLT_MAX, 1e-40f,    -1e-40f,   200.0f,    -200.0f,   FLT_TRUE_MIN, 0.625f,   88.5f,
                               -88.5f,   -103.972f, 15.0f,     -15.0001f, 104.0f,    -20.0f};
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 65521) {
        const uint32_t word = static_cast<uint32_t>(bits);
        float value;
        std::memcpy(&value, &word, sizeof value);
        grid.push_back(value);
    }
    for (float x = -25; x < 25; x += 0.00317f) grid.push_back(x);
    return grid;
}

}  // namespace

TEST_CASE("activation: every function at all magnitudes") {
    for (const activation_kernel &kernel : activation_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            const std::vector<float> grid = activation_grid();
            std::vector<float> y = grid;
            kernel.run({.y = y.data(), .m = 1, .n = y.size(), .ldy = y.size()});
            check_close(
                kernel.name, "over " + std::to_string(grid.size()) + " values", 1, grid.size(),
                [&](size_t, size_t j) { return y[j]; }, [&](size_t, size_t j) { return apply(kernel.what, grid[j]); },
                [&](size_t, size_t j) { return activation_bound(kernel.what, grid[j]); });
        }
    }
}

TEST_CASE("activation: partial vectors and padding") {
    for (const activation_kernel &kernel : activation_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t n = 1; n <= 40; n++) {
                guarded<float> x(3, n, n), y(3, n, n + n % 3, n % 2 ? guard::after : guard::before);
                x.fill([&] { return random.uniform(-4, 4); });
                for (size_t i = 0; i < 3; i++) std::copy_n(&x.at(i, 0), n, &y.at(i, 0));
                kernel.run({.y = y.data(), .m = 3, .n = n, .ldy = y.ld()});
                check_close(
                    kernel.name, "n=" + std::to_string(n), 3, n, [&](size_t i, size_t j) { return y.at(i, j); },
                    [&](size_t i, size_t j) { return apply(kernel.what, x.at(i, j)); },
                    [&](size_t i, size_t j) { return activation_bound(kernel.what, x.at(i, j)); });
                CHECK(y.intact());
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------- norm

namespace {

void check_norm(const norm_kernel &kernel, size_t n, bool residual, int alias, seeded &random) {
    const size_t m = 7;  // four rows together and three
    const float eps = 1e-5f, offset = random.uniform(-3, 3);
    guarded<float> x(m, n, n), r(m, n, n), y(m, n, n), gamma(1, n, n), beta(1, n, n);
    const auto number = [&] { return random.uniform(); };
    x.fill([&] { return offset + random.uniform(); });
    for (guarded<float> *operand : {&r, &gamma, &beta}) operand->fill(number);
    std::vector<double> t(m * n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) t[i * n + j] = double{x.at(i, j)} + (residual ? double{r.at(i, j)} : 0.0);

    guarded<float> &out = alias == 1 ? x : alias == 2 ? r : y;
    kernel.run({.x = x.data(),
                .r = residual ? r.data() : nullptr,
                .gamma = gamma.data(),
                .beta = beta.data(),
                .y = out.data(),
                .m = m,
                .n = n,
                .eps = eps});

    std::vector<double> mean(m), size(m), deviation(m);
    const double count = static_cast<double>(n);
    for (size_t i = 0; i < m; i++) {
        double variance = 0;
        for (size_t j = 0; j < n; j++) mean[i] += t[i * n + j] / count, size[i] += std::abs(t[i * n + j]) / count;
        for (size_t j = 0; j < n; j++) variance += std::pow(t[i * n + j] - mean[i], 2) / count;
        deviation[i] = std::sqrt(variance + double{eps});
    }
    const auto scaled = [&](size_t i, size_t j) {
        return (t[i * n + j] - mean[i]) / deviation[i] * double{gamma.at(0, j)};
    };
    std::ostringstream shape;
    shape << "n=" << n << (residual ? " residual" : "") << " y is "
          << (alias == 1   ? "x"
              : alias == 2 ? "r"
                           : "separate");
    // t, its mean and the difference are off by (n+3) roundings of |t|, which the division by the deviation enlarges;
    // the deviation itself by the same relative to the deviation and n/2 + 4 more.
    check_close(
        kernel.name, shape.str(), m, n, [&](size_t i, size_t j) { return out.at(i, j); },
        [&](size_t i, size_t j) { return scaled(i, j) + double{beta.at(0, j)}; },
        [&](size_t i, size_t j) {
            const double shift = (count + 3) * unit * (size[i] + std::abs(t[i * n + j])) / deviation[i];
            return shift * std::abs(double{gamma.at(0, j)}) +
                   std::abs(scaled(i, j)) * (shift + (count / 2 + 8) * unit) +
                   unit * 2 * std::abs(double{beta.at(0, j)});
        });
    INFO(kernel.name << " " << shape.str());
    CHECK((x.intact() && r.intact() && y.intact() && gamma.intact() && beta.intact()));
}

}  // namespace

TEST_CASE("norm: with and without a second operand, in place or not") {
    for (const norm_kernel &kernel : norm_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t n : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 768, 1024})
                for (bool residual : {false, true})
                    for (int alias = 0; alias < (residual ? 3 : 2); alias++)
                        check_norm(kernel, n, residual, alias, random);
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- softmax

namespace {

void check_softmax(const softmax_kernel &kernel, size_t n, float range, bool masked, seeded &random) {
    const size_t m = 7;  // four rows together and three
    const float scale = 0.125f;
    guarded<float> x(m, n, n), y(m, n, n + random.index(0, 3), random.index(0, 1) ? guard::after : guard::before);
    x.fill([&] { return random.uniform(-range, range); });
    for (size_t j = 0; masked && j + 1 < n; j++)
        if (random.index(0, 2) == 0) x.at(1, j) = -infinity;
    if (masked) x.at(2, random.index(0, n - 1)) = nan_value;
    for (size_t i = 0; i < m; i++) std::copy_n(&x.at(i, 0), n, &y.at(i, 0));
    kernel.run({.y = y.data(), .m = m, .n = n, .ldy = y.ld(), .scale = scale});

    std::vector<double> max(m, -HUGE_VAL), sum(m);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) max[i] = std::fmax(max[i], double{scale * x.at(i, j)});
        for (size_t j = 0; j < n; j++) sum[i] += std::exp(double{scale * x.at(i, j)} - max[i]);
    }
    const auto want = [&](size_t i, size_t j) { return std::exp(double{scale * x.at(i, j)} - max[i]) / sum[i]; };
    std::ostringstream shape;
    shape << "n=" << n << " range=" << range << (masked ? " masked" : "");
    // The sum has n roundings; the difference to the maximum is off by its own rounding, twice scale*range at most.
    const double bound = (static_cast<double>(n) + 8 + 6 * double{scale * range}) * unit;
    check_close(
        kernel.name, shape.str(), m, n, [&](size_t i, size_t j) { return y.at(i, j); }, want,
        [&](size_t i, size_t j) { return bound * want(i, j) + FLT_MIN; });
    INFO(kernel.name << " " << shape.str());
    CHECK(y.intact());
}

// A mask gives hidden keys -FLT_MAX, whose product with a scale is rounded. If all keys of a row are hidden, all must
// count equally; beside a visible key, none may count.
void check_hidden_keys(const softmax_kernel &kernel, size_t n, float scale) {
    guarded<float> y(2, n, n + 1);
    y.fill([] { return -FLT_MAX; });
    y.at(1, n / 2) = -3;
    kernel.run({.y = y.data(), .m = 2, .n = n, .ldy = y.ld(), .scale = scale});
    size_t wrong = 0;
    for (size_t j = 0; j < n; j++) {
        wrong += !(std::fabs(y.at(0, j) * static_cast<float>(n) - 1) < 1e-5f);
        wrong += y.at(1, j) != (j == n / 2 ? 1.0f : 0.0f);
    }
    INFO(kernel.name << " n=" << n << " scale=" << scale);
    CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("softmax: masked columns, NaN and large values") {
    for (const softmax_kernel &kernel : softmax_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t n = 1; n <= 50; n++)
                for (bool masked : {false, true}) check_softmax(kernel, n, 8, masked, random);
            for (float range : {0.0f, 1.0f, 100.0f, 1e4f}) check_softmax(kernel, 384, range, false, random);
            for (const float d : {8.0f, 24.0f, 64.0f, 80.0f})
                for (const size_t n : {1, 7, 16, 50, 300}) check_hidden_keys(kernel, n, 1 / std::sqrt(d));
        }
    }
}

// -------------------------------------------------------------------------------------------------------------- attend

namespace {

enum class seen { all, some, none, holes, late };

float to_f32(float x) {
    return x;
}
float to_f32(uint16_t x) {
    return bf16_to_f32(x);
}
template <class T>
T from_f32(float x) {
    if constexpr (sizeof(T) == 2) return bf16_from_f32(x);
    return static_cast<T>(x);
}

// Adds to the scores of hidden keys the lowest float, or -inf where there are holes: these leave one of the keys, in
// the last block where `late`.
void fill_mask(guarded<float> &mask, size_t n, seen keys, seeded &random) {
    const size_t left = keys == seen::late ? n - 1 : random.index(0, n - 1);
    for (size_t j = 0; j < n; j++) {
        const bool third = random.index(0, 2) == 0;
        mask.at(0, j) = keys == seen::none || (keys == seen::some && third) ? -FLT_MAX
                        : keys == seen::holes && third && j != left         ? -infinity
                        : keys == seen::late && j < left                    ? -infinity
                                                                            : 0;
    }
}

// Checks one head of n tokens, with all queries in one call and in two calls, in place or not. The rows past the last
// row of q, which may be read, hold NaN, and so does one of the rows.
template <class T>
void check_attend(const attend_kernel &kernel, size_t n, size_t d, seen keys, bool in_place, seeded &random) {
    const size_t ld = 3 * d + 8 * random.index(0, 2), rows = round_up(n, kernel.row_multiple);
    guarded<T> q(rows, d, ld), k(n, d, ld), v(n, d, ld), y(n, d, ld), at_once(n, d, ld);
    guarded<float> mask(1, n, n);
    guarded<uint64_t> scratch(1, attend_scratch_bytes(n, d) / 8, attend_scratch_bytes(n, d) / 8, guard::after, 64);
    const auto uniform = [&] { return from_f32<T>(random.uniform(-2, 2)); };
    const T bad_value = from_f32<T>(nan_value);
    q.fill(uniform), k.fill(uniform), v.fill(uniform);
    for (size_t i = n; i < rows; i++)
        for (size_t c = 0; c < d; c++) q.at(i, c) = bad_value;
    const size_t bad = n > 5 ? n - 2 : n, twin = n > 5 ? n - 1 : 0;  // two rows of q are the same, one holds NaN
    for (size_t c = 0; c < d; c++) q.at(twin, c) = q.at(0, c);
    if (bad < n) q.at(bad, d - 1) = bad_value;
    fill_mask(mask, n, keys, random);
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    const std::vector<T> queries(q.data(), q.data() + q.size());
    T *to = in_place ? q.data() : y.data();
    const auto attend = [&](size_t begin, size_t end, T *result) {
        const scope_guard scope(kernel.scope);
        kernel.run({.q = q.data() + begin * ld,
                    .k = k.data(),
                    .v = v.data(),
                    .mask = keys == seen::all ? nullptr : mask.data(),
                    .y = result + begin * ld,
                    .scratch = scratch.data(),
                    .m = end - begin,
                    .n = n,
                    .d = d,
                    .ld = ld,
                    .scale = scale});
    };
    attend(0, n, at_once.data());
    const size_t cut = std::min(n, 16 * random.index(0, n / 16));  // keeps the groups of rows in place
    attend(0, cut, to);
    attend(cut, n, to);

    // bf16: weights and results are rounded to it; scores of up to 4 d in f32 cost less. A weight of f32 is 2^x with an
    // error of 4 units.
    const double rounding = sizeof(T) == 2 ? 0x1p-8 : 8 * unit;
    std::vector<double> want(n * d), bound(n * d), w(n);
    for (size_t i = 0; i < n; i++) {
        double max = -HUGE_VAL, sum = 0;
        for (size_t j = 0; j < n; j++) {
            double s = 0;
            for (size_t c = 0; c < d; c++) s += double{to_f32(queries[i * ld + c])} * double{to_f32(k.at(j, c))};
            w[j] = keys == seen::all || mask.at(0, j) == 0 ? s * double{scale} : -1e30;  // swallows the score
            max = std::max(max, w[j]);
        }
        for (size_t j = 0; j < n; j++) sum += w[j] = std::exp(w[j] - max);
        for (size_t c = 0; c < d; c++) {
            double y_ic = 0, size = 0;
            for (size_t j = 0; j < n; j++) {
                const double term = w[j] / sum * double{to_f32(v.at(j, c))};
                y_ic += term;
                size += std::abs(term);
            }
            want[i * d + c] = i == bad ? NAN : y_ic;
            bound[i * d + c] = rounding * (size + std::abs(y_ic)) + static_cast<double>(32 + 8 * d) * unit * size;
        }
    }
    std::ostringstream shape;
    shape << "n=" << n << " d=" << d << " keys " << static_cast<int>(keys) << (in_place ? " in place" : "");
    check_close(
        kernel.name, shape.str(), n, d, [&](size_t i, size_t c) { return to_f32(to[i * ld + c]); },
        [&](size_t i, size_t c) { return want[i * d + c]; }, [&](size_t i, size_t c) { return bound[i * d + c]; });
    INFO(kernel.name << " " << shape.str());
    const auto same = [d](const T *a, const T *b) { return std::memcmp(a, b, d * sizeof(T)) == 0; };
    CHECK(same(to, to + twin * ld));
    for (size_t i = 0; i < n; i++) CHECK(same(to + i * ld, &at_once.at(i, 0)));
    CHECK((q.intact() && y.intact() && at_once.intact() && scratch.intact()));
    if (!in_place) CHECK(std::memcmp(queries.data(), q.data(), queries.size() * sizeof(T)) == 0);
}

// Checks a head of the width d, or of the next one that the kernel takes.
void check_attend(const attend_kernel &kernel, size_t n, size_t d, seen keys, seeded &random) {
    const size_t width = round_up(d, kernel.d_multiple);
    const bool in_place = random.index(0, 1) == 1;
    if (kernel.type == dtype::bf16) {
        check_attend<uint16_t>(kernel, n, width, keys, in_place, random);
    } else {
        check_attend<float>(kernel, n, width, keys, in_place, random);
    }
}

}  // namespace

TEST_CASE("attend: any number of tokens, with one block of keys and with several") {
    for (const attend_kernel &kernel : attend_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            const size_t widths[] = {1, 24, 32, 48, 64, 80, 96};
            for (const size_t n : {1, 2, 5, 15, 16, 17, 31, 32, 33, 48, 70, 128, 255, 256, 257, 300, 520})
                for (const seen keys : {seen::all, seen::some, seen::none, seen::holes, seen::late})
                    check_attend(kernel, n, widths[random.index(0, 6)], keys, random);
            for (const size_t d : {8, 16, 32, 64, 80, 128, 160, 256})
                for (const size_t n : {7, 45, 270}) check_attend(kernel, n, d, seen::some, random);
        }
    }
}

// ----------------------------------------------------------------------------------------------------------------- bag

namespace {

// A table of random rows between guarded pages, and the values that its rows stand for.
struct random_table {
    random_table(seeded &random, row_format what, size_t n_rows, size_t width, size_t robe_chunk)
        : format(what),
          rows(n_rows),
          d(width),
          bytes(row_bytes(what, width)),
          chunk(robe_chunk),
          robe_size(what == row_format::robe ? robe_chunk * random.index(1, 40) : 0),
          data(what == row_format::robe ? 1 : n_rows, what == row_format::robe ? 4 * (robe_size + robe_chunk) : bytes,
               what == row_format::robe ? 4 * (robe_size + robe_chunk) : bytes) {
        if (format == row_format::robe) {
            auto *array = reinterpret_cast<float *>(data.data());
            for (size_t i = 0; i < robe_size; i++) array[i] = random.uniform();
            std::copy_n(array, chunk, array + robe_size);
            layout = make_robe_layout(seed, table, robe_size, chunk);
            return;
        }
        for (size_t x = 0; x < rows; x++) fill_row(random, &data.at(x, 0));
    }

    void fill_row(seeded &random, unsigned char *row) const {
        for (size_t i = 0; i < bytes; i++) row[i] = static_cast<unsigned char>(random.index(0, 255));
        const auto put = [&](size_t at, auto value) { std::memcpy(row + at, &value, sizeof value); };
        const auto half = [&] { return static_cast<uint16_t>(random.index(0, 0x3bff) | random.index(0, 1) << 15); };
        const auto bfloat = [&] { return bf16_from_f32(random.uniform()); };
        for (size_t j = 0; j < d; j++) {
            if (format == row_format::f32) put(4 * j, random.uniform());
            if (format == row_format::bf16) put(2 * j, bfloat());
            if (format == row_format::f16) put(2 * j, half());
        }
        if (format == row_format::int8) put(d, random.uniform(0, 0.01f)), put(d + 4, random.uniform());
        if (format == row_format::int4) put((d + 1) / 2, half()), put((d + 1) / 2 + 2, half());
    }

    template <class T>
    double get(size_t x, size_t at) {
        T value;
        std::memcpy(&value, &data.at(x, at), sizeof value);
        if constexpr (std::is_same_v<T, uint16_t>) {
            return double{format == row_format::bf16 ? bf16_to_f32(value) : f16_to_f32(value)};
        } else {
            return double{value};
        }
    }

    // Returns value j of row x as a sum of terms, after applying `of` to each.
    template <class F>
    double value(size_t x, size_t j, F of) {
        const size_t half = (d + 1) / 2;
        switch (format) {
            case row_format::f32:
                return of(get<float>(x, 4 * j));
            case row_format::bf16:
            case row_format::f16:
                return of(get<uint16_t>(x, 2 * j));
            case row_format::int8:
                return of(get<float>(x, d) * data.at(x, j)) + of(get<float>(x, d + 4));
            case row_format::int4:
                return of(get<uint16_t>(x, half) * (data.at(x, j / 2) >> (j % 2 ? 4 : 0) & 15)) +
                       of(get<uint16_t>(x, half + 2));
            default:
                break;
        }
        const uint64_t line = std::min<size_t>(chunk, 16);
        const uint64_t h = robe_mix(robe_mix(robe_mix(seed, table), x), j / chunk) >> 1;
        const size_t place = h % (robe_size / line) * line;
        return of(get<float>(0, (place + j % chunk) % robe_size * 4));
    }

    static constexpr uint64_t seed = 7, table = 3;
    row_format format;
    size_t rows, d, bytes, chunk, robe_size;
    guarded<unsigned char> data;
    robe_layout layout{};
};

struct random_bags {
    random_bags(seeded &random, size_t rows, const std::vector<size_t> &lengths)
        : batch(lengths.size()), offsets(1, lengths.size(), lengths.size()) {
        for (size_t b = 0; b < lengths.size(); b++) {
            offsets.at(0, b) = total;
            total += static_cast<int64_t>(lengths[b]);
        }
        const size_t n = static_cast<size_t>(total);
        indices = std::make_unique<guarded<int64_t>>(1, n, n);
        weights = std::make_unique<guarded<float>>(1, n, n);
        indices->fill([&] { return static_cast<int64_t>(random.index(0, rows - 1)); });
        weights->fill([&] { return random.uniform(); });
    }
    int64_t end(size_t b) { return b + 1 < batch ? offsets.at(0, b + 1) : total; }

    size_t batch;
    int64_t total = 0;
    guarded<int64_t> offsets;
    std::unique_ptr<guarded<int64_t>> indices;
    std::unique_ptr<guarded<float>> weights;
};

// Arguments for the checked sums of all bags, one in each row of y.
bag_args bags_of(random_table &table, random_bags &bags, guarded<float> &y) {
    return {.table = table.data.data(),
            .indices = bags.indices->data(),
            .offsets = bags.offsets.data(),
            .weights = nullptr,
            .y = y.data(),
            .rows = table.rows,
            .d = table.d,
            .batch = bags.batch,
            .ldy = y.ld(),
            .end = bags.total,
            .mean = false,
            .checked = true,
            .robe = table.layout};
}

void check_bags(const bag_kernel &kernel, random_table &table, random_bags &bags, bool weighted, bool mean,
                size_t ldy) {
    const size_t batch = bags.batch;
    guarded<float> y(batch, table.d, ldy);
    y.fill([] { return nan_value; });
    bag_args args = bags_of(table, bags, y);
    args.weights = weighted ? bags.weights->data() : nullptr;
    args.mean = mean;
    REQUIRE(kernel.run(args));
    const auto sum = [&](size_t b, size_t j, auto of) {
        double total = 0;
        const int64_t begin = bags.offsets.at(0, b), end = bags.end(b);
        for (int64_t p = begin; p < end; p++) {
            const size_t at = static_cast<size_t>(p);
            const double weight = weighted ? double{bags.weights->at(0, at)} : 1.0;
            total +=
                table.value(static_cast<size_t>(bags.indices->at(0, at)), j, [&](double v) { return of(weight * v); });
        }
        return mean && begin < end ? total / static_cast<double>(end - begin) : total;
    };
    const auto bound = [&](size_t b, size_t j) {
        const auto terms = static_cast<double>(2 * (bags.end(b) - bags.offsets.at(0, b)) + 4);
        return terms * unit * sum(b, j, [](double v) { return std::abs(v); });
    };
    check_close(
        kernel.name, "d=" + std::to_string(table.d) + (weighted ? " weighted" : "") + (mean ? " mean" : ""), batch,
        table.d, [&](size_t b, size_t j) { return y.at(b, j); },
        [&](size_t b, size_t j) { return sum(b, j, [](double v) { return v; }); }, bound);
    CHECK((table.data.intact() && y.intact()));

    // Bits depend neither on the checks nor on the other bags of a call.
    guarded<float> alone(1, table.d, table.d);
    args.y = alone.data();
    args.checked = false;
    for (size_t b = 0; b < batch; b++) {
        args.offsets = bags.offsets.data() + b;
        args.end = bags.end(b);
        args.batch = 1;
        REQUIRE(kernel.run(args));
        CHECK(std::memcmp(args.y, &y.at(b, 0), table.d * sizeof(float)) == 0);
    }
}

// Values of d to test. ROBE tables use those that are multiples of their chunk.
const std::vector<size_t> bag_widths = {1,  2,  3,  4,  5,  7,   8,   9,   15,  16,  17,  24,  31,  32,  33,  40,  48,
                                        56, 64, 65, 96, 97, 100, 120, 128, 130, 192, 200, 256, 257, 264, 384, 512, 519};

}  // namespace

TEST_CASE("bag: empty, short and long bags of every format, weighted or not, sums and means") {
    for (const bag_kernel &kernel : bag_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            const std::vector<size_t> lengths = {0, 1, 2, 0, 150, 7, 8, 9, 0};
            for (size_t d : bag_widths)
                for (size_t chunk = 8; chunk <= (kernel.format == row_format::robe ? d : 8); chunk *= 2) {
                    if (kernel.format == row_format::robe && d % chunk != 0) continue;
                    random_table table(random, kernel.format, 50, d, chunk);
                    random_bags bags(random, table.rows, lengths);
                    const bool weighted = random.index(0, 1), mean = random.index(0, 1);
                    check_bags(kernel, table, bags, false, false, d + random.index(0, 3));
                    check_bags(kernel, table, bags, weighted, mean || !weighted, d);
                }
            bag_args none{};
            none.checked = true;
            CHECK(kernel.run(none));
        }
    }
}

TEST_CASE("bag: f32, bf16 and f16 sums have the bits of additions one by one") {
    for (const bag_kernel &kernel : bag_kernels()) {
        if (kernel.format > row_format::f16 || !usable(kernel.name, kernel.needs)) continue;
        seeded random;
        for (size_t d : bag_widths) {
            random_table table(random, kernel.format, 50, d, 8);
            random_bags bags(random, table.rows, {40});
            guarded<float> y(1, d, d);
            REQUIRE(kernel.run(bags_of(table, bags, y)));
            for (size_t j = 0; j < d; j++) {
                float sum = 0;
                for (size_t p = 0; p < 40; p++)
                    sum += static_cast<float>(
                        table.value(static_cast<size_t>(bags.indices->at(0, p)), j, [](double v) { return v; }));
                CHECK(sum == y.at(0, j));
            }
        }
    }
}

TEST_CASE("bag: bad indices and offsets are refused and not followed") {
    for (const bag_kernel &kernel : bag_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t d : {16, 24, 64, 272}) {
                const std::vector<size_t> lengths = {3, 0, 60, 1, 20};
                random_table table(random, kernel.format, 50, d, 8);
                random_bags bags(random, table.rows, lengths);
                guarded<float> y(lengths.size(), d, d);
                const bag_args args = bags_of(table, bags, y);
                CHECK(kernel.run(args));
                for (int64_t p = 0; p < bags.total; p++)
                    for (int64_t bad :
                         {int64_t{-1}, int64_t{50}, int64_t{1} << 40, std::numeric_limits<int64_t>::min()}) {
                        int64_t &index = bags.indices->at(0, static_cast<size_t>(p));
                        const int64_t good = std::exchange(index, bad);
                        CHECK(!kernel.run(args));
                        index = good;
                    }
                for (size_t b = 0; b < lengths.size(); b++)
                    for (int64_t bad :
                         {int64_t{-1}, bags.total + 1, int64_t{1} << 40, std::numeric_limits<int64_t>::min()}) {
                        int64_t &offset = bags.offsets.at(0, b);
                        const int64_t good = std::exchange(offset, bad);
                        CHECK(!kernel.run(args));
                        offset = good;
                    }
                std::swap(bags.offsets.at(0, 2), bags.offsets.at(0, 3));
                CHECK(!kernel.run(args));
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ interact

TEST_CASE("interact: all pairs, with and without the vectors themselves") {
    for (const interact_kernel &kernel : interact_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t f : {1, 2, 3, 4, 5, 6, 7, 8, 9, 27, 70})
                for (size_t d : {1, 3, 4, 16, 19, 64, 128, 130})
                    for (bool itself : {false, true}) {
                        const size_t batch = 2, pairs = itself ? f * (f + 1) / 2 : f * (f - 1) / 2;
                        guarded<float> t(batch, f * d, f * d + random.index(0, 3));
                        guarded<float> z(batch, pairs, pairs + random.index(0, 3));
                        t.fill([&] { return random.uniform(); });
                        kernel.run({.t = t.data(),
                                    .z = z.data(),
                                    .batch = batch,
                                    .f = f,
                                    .d = d,
                                    .ldt = t.ld(),
                                    .ldz = z.ld(),
                                    .itself = itself});
                        std::vector<std::pair<size_t, size_t>> pair;
                        for (size_t i = 0; i < f; i++)
                            for (size_t j = 0; j < i + itself; j++) pair.emplace_back(i, j);
                        const auto dot = [&](size_t b, size_t p, auto of) {
                            double sum = 0;
                            for (size_t k = 0; k < d; k++)
                                sum += of(double{t.at(b, pair[p].first * d + k)} *
                                          double{t.at(b, pair[p].second * d + k)});
                            return sum;
                        };
                        std::ostringstream shape;
                        shape << "f=" << f << " d=" << d << (itself ? " itself" : "");
                        check_close(
                            kernel.name, shape.str(), batch, pairs, [&](size_t b, size_t p) { return z.at(b, p); },
                            [&](size_t b, size_t p) { return dot(b, p, [](double v) { return v; }); },
                            [&](size_t b, size_t p) {
                                return static_cast<double>(d + 2) * unit *
                                       dot(b, p, [](double v) { return std::abs(v); });
                            });
                        CHECK((t.intact() && z.intact()));
                    }
        }
    }
}

TEST_CASE("interact: a product's bits depend neither on its pair's place nor on the batch") {
    for (const interact_kernel &kernel : interact_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t d : {5, 16, 37, 128}) {
                const size_t f = 15, batch = 3;
                guarded<float> vectors(2, d, d), t(batch, f * d, f * d);
                vectors.fill([&] { return random.uniform(); });
                for (size_t b = 0; b < batch; b++)  // even vectors are the first one, odd ones the second
                    for (size_t j = 0; j < f * d; j++) t.at(b, j) = vectors.at(j / d % 2, j % d);
                for (bool itself : {false, true}) {
                    const size_t pairs = itself ? f * (f + 1) / 2 : f * (f - 1) / 2;
                    guarded<float> z(batch, pairs, pairs);
                    kernel.run({.t = t.data(),
                                .z = z.data(),
                                .batch = batch,
                                .f = f,
                                .d = d,
                                .ldt = f * d,
                                .ldz = pairs,
                                .itself = itself});
                    std::set<float> equal[2], unequal;
                    for (size_t b = 0; b < batch; b++)
                        for (size_t i = 0, p = 0; i < f; i++)
                            for (size_t j = 0; j < i + itself; j++)
                                (i % 2 == j % 2 ? equal[i % 2] : unequal).insert(z.at(b, p++));
                    CHECK((equal[0].size() == 1 && equal[1].size() == 1 && unequal.size() == 1));
                }
            }
        }
    }
}

// --------------------------------------------------------------------------------------------------------------- cross

TEST_CASE("cross: any width, x0 and x the same or not") {
    for (const cross_kernel &kernel : cross_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t n = 1; n <= 70; n++)
                for (bool same : {false, true}) {
                    const size_t m = 3;
                    guarded<float> x0(m, n, n + random.index(0, 3)), x(m, n, n), y(m, n, n + random.index(0, 3));
                    for (guarded<float> *operand : {&x0, &x, &y}) operand->fill([&] { return random.uniform(-4, 4); });
                    std::vector<double> before(m * n);
                    for (size_t i = 0; i < m * n; i++) before[i] = double{y.at(i / n, i % n)};
                    guarded<float> &last = same ? x0 : x;
                    kernel.run({.y = y.data(),
                                .x0 = x0.data(),
                                .x = last.data(),
                                .m = m,
                                .n = n,
                                .ldy = y.ld(),
                                .ldx0 = x0.ld(),
                                .ldx = last.ld()});
                    const auto product = [&](size_t i, size_t j) { return double{x0.at(i, j)} * before[i * n + j]; };
                    // A multiplication and an addition, or both rounded once.
                    check_close(
                        kernel.name, "n=" + std::to_string(n), m, n, [&](size_t i, size_t j) { return y.at(i, j); },
                        [&](size_t i, size_t j) { return product(i, j) + double{last.at(i, j)}; },
                        [&](size_t i, size_t j) {
                            return 2 * unit * (2 * std::abs(product(i, j)) + std::abs(double{last.at(i, j)}));
                        });
                    CHECK((x0.intact() && x.intact() && y.intact()));
                }
        }
    }
}

// -------------------------------------------------------------------------------------------------------------- tables

namespace {

// Checks that the reference is last and the first row the best, for families whose rows all do the same.
template <class K>
void check_order(const table<K> &kernels) {
    REQUIRE(kernels.count > 0);
    CHECK(kernels.rows[kernels.count - 1].needs == isa::none);
    CHECK(&kernels.select(isa::none) == &kernels.rows[kernels.count - 1]);
    CHECK(&kernels.select(~isa::none) == &kernels.rows[0]);
}

std::string name_of(dtype type) {
    switch (type) {
        case dtype::f32:
            return "f32";
        case dtype::bf16:
            return "bf16";
        case dtype::f16:
            return "f16";
        case dtype::s8:
            return "s8";
        case dtype::u8:
            return "u8";
    }
    return "";
}

}  // namespace

TEST_CASE("every instruction set that SS1_TEST_REQUIRE_ISA promises is found") {
    for (const std::string &word : required_isas()) {
        INFO(word);
        const auto levels = isa_levels();
        const auto level =
            std::find_if(levels.begin(), levels.end(), [&](const isa_level &l) { return word == l.name; });
        REQUIRE(level != levels.end());
        CHECK((level->bit & ~cpu_detect_isas()) == 0);
    }
}

TEST_CASE("tables: unique names, the reference last, the best first") {
    std::set<std::string> names;
    for_each_family([&names](const auto &kernels) {
        for (const auto &kernel : kernels) CHECK(names.insert(kernel.name).second);
    });
    check_order(norm_kernels());
    check_order(softmax_kernels());
    check_order(interact_kernels());
    check_order(cross_kernels());
    CHECK(select_activation(activation::none, ~isa::none) == nullptr);
    for (activation what : {activation::relu, activation::gelu, activation::gelu_tanh, activation::tanh,
                            activation::sigmoid, activation::silu, activation::gelu_bf16}) {
        const activation_kernel *reference = select_activation(what, isa::none);
        REQUIRE(reference != nullptr);
        CHECK((reference->what == what && reference->needs == isa::none));
    }
    for (dtype b : {dtype::f32, dtype::bf16, dtype::s8})
        for (dtype a : {dtype::f32, dtype::bf16}) CHECK(select_gemm(b, 1, a, isa::none).needs == isa::none);
    for (dtype x : {dtype::f32, dtype::bf16, dtype::f16})
        for (dtype s : {dtype::f32, dtype::bf16}) CHECK(select_sketch(x, s, isa::none).needs == isa::none);
    for (dtype s : {dtype::f32, dtype::bf16}) {
        CHECK(select_quantize(s, isa::none).needs == isa::none);
        const auto kernels = quantize_kernels();
        const auto first = std::find_if(kernels.begin(), kernels.end(), [s](const auto &k) { return k.s == s; });
        CHECK(select_quantize(s, ~isa::none).run == first->run);
    }
    for (dtype y : {dtype::f32, dtype::bf16}) CHECK(select_store(y, isa::none).needs == isa::none);
    for (dtype type : {dtype::f32, dtype::bf16}) {
        CHECK(
            (select_attend(type, 7, ~isa::none).needs == isa::none && select_attend(type, 7, isa::none).type == type));
        CHECK((select_attend(type, 64, ~isa::none).needs != isa::none));
    }
    for (int f = 1; f <= 6; f++) CHECK(select_bag(static_cast<row_format>(f), isa::none).needs == isa::none);
}

TEST_CASE("tables: names of gemm and sketch rows say types and tile; a gemm row is of one kind") {
    for (const gemm_kernel &kernel : gemm_kernels()) {
        INFO(kernel.name);
        const std::string tile = std::to_string(kernel.mr) + "x" + std::to_string(kernel.nt * kernel.tiles_at_once);
        const std::string types = "gemm_" + name_of(kernel.a) + "_" + name_of(kernel.b) + "_";
        CHECK(std::string(kernel.name).rfind(types + (kernel.needs ? tile + "_" : "ref"), 0) == 0);
        CHECK(!kernel.panel == (kernel.fused != nullptr));
        CHECK((kernel.rates.macs_per_cycle > 0 && kernel.rates.macs_per_byte > 0 && kernel.rates.flops_per_ns > 0));
        // Rows that operators hand from one to the next come in groups that every kernel may read whole.
        CHECK(row_group % kernel.row_multiple == 0);
        CHECK(kernel.mr % kernel.row_multiple == 0);
    }
    for (const sketch_kernel &kernel : sketch_kernels())
        CHECK(std::string(kernel.name).rfind("sketch_" + name_of(kernel.x) + "_" + name_of(kernel.s) + "_", 0) == 0);
    for (const quantize_kernel &kernel : quantize_kernels())
        CHECK(std::string(kernel.name).rfind("quantize_" + name_of(kernel.s) + "_", 0) == 0);
    for (const attend_kernel &kernel : attend_kernels()) CHECK(row_group % kernel.row_multiple == 0);
}
