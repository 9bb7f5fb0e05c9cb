// SPDX-License-Identifier: Apache-2.0
// Every row of every kernel table against its formula in double, with bounds that follow from the number of roundings.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <numbers>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "check.hpp"
#include "cpu.hpp"
#include "kernels.hpp"

using namespace ss1;
using ss1_test::check_close;
using ss1_test::guard;
using ss1_test::guarded;
using ss1_test::seeded;

namespace {

constexpr double unit = FLT_EPSILON / 2;  // largest relative error of one rounding
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// The instruction sets that this machine promises to have: SS1_TEST_REQUIRE_ISA, names separated by commas.
std::vector<std::string> required_isas() {
    const char *list = std::getenv("SS1_TEST_REQUIRE_ISA");
    std::istringstream names(list ? list : "");
    std::vector<std::string> required;
    for (std::string word; std::getline(names, word, ',');) required.push_back(word);
    return required;
}

// Whether this machine can run a row. Rows of an instruction set that it promises cannot be left out unseen: another
// test demands that all of those are found.
bool usable(const std::string &name, isa::mask needs) {
    if ((needs & ~cpu_detect_isas()) == 0) return true;
    WARN(name << " not tested: the CPU lacks its instruction set");
    return false;
}

bool same_bits(const float *a, const float *b, size_t count) {
    return std::memcmp(a, b, count * sizeof(float)) == 0;
}

// ---------------------------------------------------------------------------------------------------------------- gemm

struct gemm_shape {
    size_t m, n, k;
    bool accumulate, bias, relu;
    size_t pad;  // of lda and ldc
    std::string text() const {
        std::ostringstream s;
        s << "m=" << m << " n=" << n << " k=" << k << (accumulate ? " accumulate" : "") << (bias ? " bias" : "")
          << (relu ? " relu" : "") << " pad=" << pad;
        return s.str();
    }
};

// Operands of one call in guarded buffers, and b unpacked.
struct gemm_problem {
    gemm_shape shape;
    size_t tiles, nt;
    guarded<float> a, b, bias, c, init;
    std::vector<float> dense;  // [k, n]

    gemm_problem(const gemm_kernel &kernel, const gemm_shape &s, seeded &random, guard where = guard::after)
        : shape(s),
          tiles((s.n + kernel.nt - 1) / kernel.nt),
          nt(kernel.nt),
          a(s.m, s.k, s.k + s.pad, where),
          b(tiles, s.k * nt, s.k * nt + 16 * s.pad, where, 64),
          bias(1, s.n, s.n, where),
          c(s.m, s.n, s.n + s.pad, where),
          init(s.m, s.n, s.n + s.pad),
          dense(s.k * s.n) {
        const auto number = [&] { return random.uniform(); };
        a.fill(number);
        bias.fill(number);
        init.fill(number);
        std::generate(dense.begin(), dense.end(), number);
        pack();
    }
    void pack() {
        for (size_t k = 0; k < shape.k; k++)
            for (size_t j = 0; j < shape.n; j++) b.at(j / nt, k * nt + j % nt) = dense[k * shape.n + j];
    }
    gemm_args args() {
        return {a.data(), b.data(),         shape.bias ? bias.data() : nullptr,
                c.data(), shape.m,          shape.n,
                shape.k,  a.ld(),           b.ld(),
                c.ld(),   shape.accumulate, shape.relu};
    }
    void run(const gemm_kernel &kernel) {
        for (size_t i = 0; i < shape.m; i++)
            for (size_t j = 0; j < shape.n; j++) c.at(i, j) = init.at(i, j);
        kernel.run(args());
    }
    double start(size_t i, size_t j) { return shape.accumulate ? init.at(i, j) : shape.bias ? bias.at(0, j) : 0; }
    double want(size_t i, size_t j) {
        double sum = start(i, j);
        for (size_t k = 0; k < shape.k; k++) sum += double{a.at(i, k)} * double{dense[k * shape.n + j]};
        return shape.relu && sum < 0 ? 0 : sum;
    }
    double bound(size_t i, size_t j) {
        double sum = std::abs(start(i, j));
        for (size_t k = 0; k < shape.k; k++) sum += std::abs(double{a.at(i, k)} * double{dense[k * shape.n + j]});
        return static_cast<double>(shape.k + 2) * unit * sum;
    }
    void check(const gemm_kernel &kernel) {
        run(kernel);
        check_close(
            kernel.name, shape.text(), shape.m, shape.n, [&](size_t i, size_t j) { return c.at(i, j); },
            [&](size_t i, size_t j) { return want(i, j); }, [&](size_t i, size_t j) { return bound(i, j); });
        INFO(kernel.name << " " << shape.text());
        CHECK((a.intact() && b.intact() && bias.intact() && c.intact()));
    }
};

}  // namespace

TEST_CASE("gemm: every row count, column remainder and mode") {
    for (const gemm_kernel &kernel : gemm_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            const size_t nt = kernel.nt;
            unsigned mode = 0;
            for (size_t m = 1; m <= kernel.mr; m++)
                for (size_t n : {size_t{1}, nt - 1, nt, nt + 1, 2 * nt, 2 * nt + nt / 2, 4 * nt, 5 * nt - 1})
                    for (size_t k : {0, 1, 2, 3, 5, 13}) {
                        if (n == 0) continue;
                        mode += 5;  // all eight modes in turn
                        const gemm_shape shape{m,           n, k, (mode & 1) != 0, (mode & 2) != 0, (mode & 4) != 0,
                                               mode / 8 % 3};
                        const guard where = mode / 64 % 2 ? guard::before : guard::after;
                        gemm_problem(kernel, shape, random, where).check(kernel);
                    }
        }
    }
}

TEST_CASE("gemm: the models' and random shapes") {
    for (const gemm_kernel &kernel : gemm_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t k : {13, 256, 479, 512})
                for (size_t m : {1u, kernel.mr}) {
                    gemm_problem(kernel, {m, 2 * kernel.nt + 1u, k, false, true, true, 0}, random).check(kernel);
                    gemm_problem(kernel, {m, 96, k, true, false, false, 3}, random).check(kernel);
                }
            for (int round = 0; round < 60; round++) {
                const gemm_shape shape{random.index(1, kernel.mr), random.index(1, 150),    random.index(0, 130),
                                       random.index(0, 1) == 1,    random.index(0, 1) == 1, random.index(0, 1) == 1,
                                       random.index(0, 5)};
                gemm_problem(kernel, shape, random).check(kernel);
            }
        }
    }
}

TEST_CASE("gemm: bits do not depend on the number of rows and columns, nor on the row's position") {
    for (const gemm_kernel &kernel : gemm_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            const size_t n = 5 * kernel.nt;
            gemm_problem all(kernel, {kernel.mr, n, 67, false, true, false, 1}, random);
            all.run(kernel);
            guarded<float> c(kernel.mr, n, n);
            size_t different = 0;
            for (size_t first = 0; first < kernel.mr; first++)
                for (size_t m = 1; first + m <= kernel.mr; m++)
                    for (size_t columns : {n, n - 1, kernel.nt * size_t{3}, size_t{kernel.nt}, size_t{1}}) {
                        gemm_args args = all.args();
                        args.a += first * args.lda;
                        args.c = c.data();
                        args.ldc = c.ld();
                        args.m = m;
                        args.n = columns;
                        kernel.run(args);
                        for (size_t i = 0; i < m; i++)
                            different += !same_bits(&c.at(i, 0), &all.c.at(first + i, 0), columns);
                    }
            CHECK(different == 0);
        }
    }
}

TEST_CASE("gemm: a NaN at any k reaches its row or column, through ReLU") {
    for (const gemm_kernel &kernel : gemm_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            const size_t n = 2 * kernel.nt + 1u, k = 37;
            for (size_t m : {1u, kernel.mr})
                for (size_t p = 0; p < k; p++) {
                    gemm_problem problem(kernel, {m, n, k, false, true, true, 0}, random);
                    const size_t row = p % m, column = p % n;
                    const bool in_a = p % 2 == 0;
                    (in_a ? problem.a.at(row, p) : problem.dense[p * n + column]) = nan_value;
                    problem.pack();
                    problem.check(kernel);  // NaN exactly where the double computation has it
                }
        }
    }
}

// -------------------------------------------------------------------------------------------------------------- sketch

namespace {

void check_sketch(const sketch_kernel &kernel, size_t m, size_t k, size_t block_k, size_t c, seeded &random) {
    const size_t groups = (k + c * block_k - 1) / (c * block_k), columns = groups * block_k;
    guarded<float> x(m, k, k + random.index(0, 3), random.index(0, 1) ? guard::after : guard::before);
    guarded<float> s(m, columns, columns + random.index(0, 3));
    std::vector<sketch_entry> entries(groups * c);
    x.fill([&] { return random.uniform(); });
    s.fill([] { return nan_value; });
    for (sketch_entry &entry : entries)
        entry = {static_cast<uint16_t>(random.index(0, block_k - 1)), static_cast<uint16_t>(random.index(0, 1))};
    kernel.run({x.data(), s.data(), entries.data(), m, k, x.ld(), s.ld(), block_k, c, groups});

    const auto over_terms = [&](size_t i, size_t j, auto add) {
        const size_t g = j / block_k, u = j % block_k;
        for (size_t q = 0; q < c; q++) {
            const sketch_entry &entry = entries[g * c + q];
            const size_t column = (g * c + q) * block_k + (u + entry.rotation) % block_k;
            const float value = column < k ? x.at(i, column) : 0.0f;
            add(entry.negative ? -value : value);
        }
    };
    // Only additions round, and their order is given: the bits are, too.
    const auto want = [&](size_t i, size_t j) {
        float sum = 0;
        over_terms(i, j, [&](float value) { sum += value; });
        return sum;
    };
    std::ostringstream shape;
    shape << "m=" << m << " k=" << k << " B_K=" << block_k << " c=" << c;
    check_close(
        kernel.name, shape.str(), m, columns, [&](size_t i, size_t j) { return s.at(i, j); }, want,
        [](size_t, size_t) { return 0.0; });
    INFO(kernel.name << " " << shape.str());
    CHECK((x.intact() && s.intact()));
}

}  // namespace

TEST_CASE("sketch: any rotation, every block length and tail") {
    for (const sketch_kernel &kernel : sketch_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t block_k : {16, 32, 64, 128, 256})
                for (size_t c : {1, 2, 3, 4, 8}) {
                    const size_t group = c * block_k;
                    // Every tail length of a group of short blocks; of long ones a random sample and the edges.
                    const size_t step = group <= 64 ? 1 : group / 37;
                    for (size_t k = 1; k <= 2 * group; k += random.index(1, 2 * step - 1))
                        check_sketch(kernel, 1, k, block_k, c, random);
                    for (size_t k : {group - 1, group, group + 1, 2 * group, 3 * group - block_k + 5})
                        check_sketch(kernel, 3, k, block_k, c, random);
                }
            check_sketch(kernel, 2, 479, 64, 4, random);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- activation

namespace {

double sigmoid(double x) {
    return 1 / (1 + std::exp(-x));
}

double apply(activation what, double x) {
    const double z = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    if (x == -HUGE_VAL && what != activation::tanh) return 0;  // the limit of x * (something that goes to zero)
    switch (what) {
        case activation::relu:
            return x < 0 ? 0 : x;
        case activation::gelu:
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

// 4 ulp, and for the left tail of gelu_tanh what the rounding of its argument costs. A denormal result may become zero,
// as may a denormal factor of x.
double activation_bound(activation what, double x) {
    const double z = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    const double ulps = what == activation::gelu_tanh && x < 0 ? 4 + 6 * std::min(std::abs(z), 100.0) : 4;
    const bool product = what == activation::gelu_tanh || what == activation::silu;
    return ulps * FLT_EPSILON * std::abs(apply(what, x)) +
           FLT_MIN * (product ? std::clamp(std::abs(x), 1.0, 200.0) : 1);
}

// Floats of all magnitudes and signs, dense where the functions bend, and the special ones.
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
            kernel.run({y.data(), 1, y.size(), y.size()});
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
                kernel.run({y.data(), 3, n, y.ld()});
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
    const size_t m = 3;
    const float eps = 1e-5f, offset = random.uniform(-3, 3);
    guarded<float> x(m, n, n), r(m, n, n), y(m, n, n), gamma(1, n, n), beta(1, n, n);
    const auto number = [&] { return random.uniform(); };
    x.fill([&] { return offset + random.uniform(); });
    for (guarded<float> *operand : {&r, &gamma, &beta}) operand->fill(number);
    std::vector<double> t(m * n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) t[i * n + j] = double{x.at(i, j)} + (residual ? double{r.at(i, j)} : 0.0);

    guarded<float> &out = alias == 1 ? x : alias == 2 ? r : y;
    kernel.run({x.data(), residual ? r.data() : nullptr, gamma.data(), beta.data(), out.data(), m, n, eps});

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
    const size_t m = 3;
    const float scale = 0.125f;
    guarded<float> x(m, n, n), y(m, n, n + random.index(0, 3), random.index(0, 1) ? guard::after : guard::before);
    x.fill([&] { return random.uniform(-range, range); });
    for (size_t j = 0; masked && j + 1 < n; j++)
        if (random.index(0, 2) == 0) x.at(1, j) = -infinity;
    if (masked) x.at(2, random.index(0, n - 1)) = nan_value;
    for (size_t i = 0; i < m; i++) std::copy_n(&x.at(i, 0), n, &y.at(i, 0));
    kernel.run({y.data(), m, n, y.ld(), scale});

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

}  // namespace

TEST_CASE("softmax: masked columns, NaN and large values") {
    for (const softmax_kernel &kernel : softmax_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t n = 1; n <= 50; n++)
                for (bool masked : {false, true}) check_softmax(kernel, n, 8, masked, random);
            for (float range : {0.0f, 1.0f, 100.0f, 1e4f}) check_softmax(kernel, 384, range, false, random);
        }
    }
}

// ----------------------------------------------------------------------------------------------------------------- bag

TEST_CASE("bag: empty, short and long bags") {
    for (const bag_kernel &kernel : bag_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t d : {1, 3, 4, 5, 8, 15, 16, 17, 64, 128, 130, 256}) {
                const size_t rows = 50, batch = 9;
                const std::vector<size_t> lengths = {0, 1, 2, 0, 300, 7, 8, 9, 0};
                guarded<float> table(rows, d, d), y(batch, d, d + random.index(0, 3));
                table.fill([&] { return random.uniform(); });
                y.fill([] { return nan_value; });
                guarded<int64_t> offsets(1, batch + 1, batch + 1);
                for (size_t b = 0; b < batch; b++)
                    offsets.at(0, b + 1) = offsets.at(0, b) + static_cast<int64_t>(lengths[b]);
                const size_t total = static_cast<size_t>(offsets.at(0, batch));
                guarded<int64_t> indices(1, total, total);
                indices.fill([&] { return static_cast<int64_t>(random.index(0, rows - 1)); });
                kernel.run({table.data(), indices.data(), offsets.data(), y.data(), batch, d, y.ld()});
                // The order of the additions is given, so the bits are, too.
                const auto want = [&](size_t b, size_t j) {
                    float sum = 0;
                    for (int64_t p = offsets.at(0, b); p < offsets.at(0, b + 1); p++)
                        sum += table.at(static_cast<size_t>(indices.at(0, static_cast<size_t>(p))), j);
                    return sum;
                };
                check_close(
                    kernel.name, "d=" + std::to_string(d), batch, d, [&](size_t i, size_t j) { return y.at(i, j); },
                    want, [](size_t, size_t) { return 0.0; });
                CHECK((table.intact() && y.intact()));
            }
            guarded<int64_t> no_offsets(1, 1, 1);
            kernel.run({nullptr, nullptr, no_offsets.data(), nullptr, 0, 16, 16});
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ interact

TEST_CASE("interact: all pairs, with and without the vectors themselves") {
    for (const interact_kernel &kernel : interact_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t f : {1, 2, 5, 27})
                for (size_t d : {1, 3, 4, 16, 19, 64, 128, 130})
                    for (bool itself : {false, true}) {
                        const size_t batch = 2, pairs = itself ? f * (f + 1) / 2 : f * (f - 1) / 2;
                        guarded<float> t(batch, f * d, f * d + random.index(0, 3));
                        guarded<float> z(batch, pairs, pairs + random.index(0, 3));
                        t.fill([&] { return random.uniform(); });
                        kernel.run({t.data(), z.data(), batch, f, d, t.ld(), z.ld(), itself});
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

// -------------------------------------------------------------------------------------------------------------- tables

namespace {

template <class K>
void check_table(const table<K> &kernels, std::set<std::string> &names) {
    REQUIRE(kernels.count > 0);
    for (const K &kernel : kernels) CHECK(names.insert(kernel.name).second);
    CHECK(kernels.rows[kernels.count - 1].needs == isa::none);
    CHECK(&kernels.select(isa::none) == &kernels.rows[kernels.count - 1]);
    CHECK(&kernels.select(~isa::none) == &kernels.rows[0]);
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
    check_table(gemm_kernels(), names);
    check_table(sketch_kernels(), names);
    check_table(norm_kernels(), names);
    check_table(softmax_kernels(), names);
    check_table(bag_kernels(), names);
    check_table(interact_kernels(), names);
    CHECK(select_activation(activation::none, ~isa::none) == nullptr);
    for (activation what : {activation::relu, activation::gelu, activation::gelu_tanh, activation::tanh,
                            activation::sigmoid, activation::silu}) {
        const activation_kernel *reference = select_activation(what, isa::none);
        REQUIRE(reference != nullptr);
        CHECK((reference->what == what && reference->needs == isa::none));
    }
    for (const activation_kernel &kernel : activation_kernels()) CHECK(names.insert(kernel.name).second);
}
