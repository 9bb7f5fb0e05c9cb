// SPDX-License-Identifier: Apache-2.0
// Checks the kernels of linear layers: every row of gemm, sketch, quantize and store against its formula.
#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "base/round.hpp"
#include "half.hpp"
#include "kernel_check.hpp"

using namespace ss1;
using namespace ss1_test;

namespace {

constexpr double bf16_unit = 1.0 / 256;  // largest relative error of one rounding to bf16: 8 bits

double decode(dtype type, const uint8_t *at) {
    uint16_t half = 0;
    float single = 0;
    switch (type) {
        case dtype::f32:
            std::memcpy(&single, at, sizeof single);
            return double{single};
        case dtype::s8:
            return std::bit_cast<int8_t>(*at);
        case dtype::u8:
            return *at;
        default:
            std::memcpy(&half, at, sizeof half);
            return double{type == dtype::bf16 ? bf16_to_f32(half) : f16_to_f32(half)};
    }
}

void encode(dtype type, float value, uint8_t *at) {
    if (type == dtype::f32) {
        std::memcpy(at, &value, sizeof value);
    } else if (type == dtype::bf16) {
        const uint16_t half = bf16_from_f32(value);
        std::memcpy(at, &half, sizeof half);
    } else {
        *at = static_cast<uint8_t>(static_cast<int>(value));
    }
}

// A guarded matrix of any type, read and written as numbers.
struct matrix {
    dtype type;
    guarded<uint8_t> bytes;

    matrix(dtype t, size_t rows, size_t columns, size_t ld, guard where = guard::after, size_t alignment = 0)
        : type(t), bytes(rows, columns * size_of(t), ld * size_of(t), where, alignment ? alignment : size_of(t)) {}
    uint8_t *data() { return bytes.data(); }
    uint8_t *at(size_t i, size_t j) { return &bytes.at(i, j * size_of(type)); }
    size_t ld() const { return bytes.ld() / size_of(type); }
    double get(size_t i, size_t j) { return decode(type, at(i, j)); }
    void set(size_t i, size_t j, float value) { encode(type, value, at(i, j)); }
};

// ---------------------------------------------------------------------------------------------------------------- gemm

struct gemm_shape {
    size_t m, n, k;
    bool accumulate, bias, relu;
    size_t pad;  // added to the leading dimensions
    bool activate = false, residual = false, in_place = false, y_bf16 = false;
    std::string text() const {
        std::ostringstream s;
        s << "m=" << m << " n=" << n << " k=" << k << (accumulate ? " accumulate" : "") << (bias ? " bias" : "")
          << (relu ? " relu" : "") << (activate ? " activate" : "") << (residual ? " residual" : "")
          << (in_place ? " in place" : "") << (y_bf16 ? " bf16" : "") << " pad=" << pad;
        return s.str();
    }
};

bool integers(const gemm_kernel &kernel) {
    return kernel.a == dtype::s8 || kernel.a == dtype::u8;
}

// Adapts a shape to a row: k becomes a multiple of its steps, modes that it lacks are cleared.
gemm_shape fit(const gemm_kernel &kernel, gemm_shape s) {
    s.k = round_up(std::max<size_t>(1, s.k), kernel.k_multiple);
    if (kernel.fused || kernel.b == dtype::s8) s.accumulate = false;
    if (!kernel.fused) s.activate = s.residual = s.y_bf16 = false;
    if (s.activate) s.relu = false;
    if (!s.residual) s.in_place = false;
    return s;
}

// Doubles the values: exact, so that it shows whether every value was passed exactly once.
void twice(const activation_args &args) noexcept {
    for (size_t i = 0; i < args.m; i++)
        for (size_t j = 0; j < args.n; j++) args.y[i * args.ldy + j] *= 2;
}

// Operands of one call in guarded buffers.
struct gemm_problem {
    const gemm_kernel &kernel;
    gemm_shape shape;
    size_t columns, nt;
    matrix a, b, y, init, residual;
    guarded<float> bias, row_scale, column_scale;
    guarded<int32_t> column_start;
    std::vector<double> a_values, b_values;  // [m, k], [k, n]

    gemm_problem(const gemm_kernel &g, const gemm_shape &s, seeded &random, guard where = guard::after)
        : kernel(g),
          shape(fit(g, s)),
          columns(round_up(s.n, g.nt)),
          nt(g.nt),
          a(g.a, round_up(s.m, g.row_multiple), shape.k, shape.k + s.pad, where),
          b(g.b, columns / nt, shape.k * nt, shape.k * nt + 64 * s.pad, where, 64),
          y(shape.y_bf16 ? dtype::bf16 : dtype::f32, s.m, s.n, s.n + s.pad, where),
          init(y.type, s.m, s.n, s.n + s.pad),
          residual(y.type, s.m, s.n, s.n + 2 * s.pad, where),
          bias(1, g.a == dtype::f32 ? s.n : columns, columns, where),
          row_scale(1, s.m, s.m, where),
          column_scale(1, columns, columns, where),
          column_start(1, columns, columns, where),
          a_values(s.m * shape.k),
          b_values(shape.k * s.n) {
        const bool whole = g.b == dtype::s8;
        const auto number = [&] { return whole ? std::floor(random.uniform(-127, 128)) : random.uniform(); };
        for (size_t i = 0; i < shape.m; i++)
            for (size_t k = 0; k < shape.k; k++) set_a(i, k, number());
        for (size_t k = 0; k < shape.k; k++)
            for (size_t j = 0; j < shape.n; j++) set_b(k, j, number());
        for (size_t i = 0; i < shape.m; i++)
            for (size_t j = 0; j < shape.n; j++) {
                init.set(i, j, random.uniform());
                residual.set(i, j, random.uniform());
            }
        bias.fill([&] { return random.uniform(); });
        row_scale.fill([&] { return random.uniform(0.001f, 0.01f); });
        column_scale.fill([&] { return random.uniform(0.001f, 0.01f); });
    }
    void set_a(size_t i, size_t k, float value) {
        a.set(i, k, kernel.a == dtype::u8 ? value + 128 : value);
        a_values[i * shape.k + k] = a.get(i, k) - (kernel.a == dtype::u8 ? 128 : 0);
    }
    void set_b(size_t k, size_t j, float value) {
        const size_t kr = kernel.kr, at = (k / kr * nt + j % nt) * kr + k % kr;
        b.set(j / nt, at, value);
        b_values[k * shape.n + j] = b.get(j / nt, at);
    }
    gemm_fused_args args() {
        gemm_fused_args g{};
        g.a = a.data();
        g.b = b.data();
        g.bias = shape.bias ? bias.data() : nullptr;
        if (kernel.b == dtype::s8) g.column_scale = column_scale.data();
        if (integers(kernel)) {
            g.row_scale = row_scale.data();
            if (kernel.a == dtype::u8) g.column_start = column_start.data();
        }
        g.y = y.data();
        g.ldy = y.ld();
        if (shape.residual) {
            g.residual = shape.in_place ? y.data() : residual.data();
            g.ldr = shape.in_place ? y.ld() : residual.ld();
        }
        g.activate = shape.activate ? twice : nullptr;
        g.m = shape.m;
        g.n = shape.n;
        g.k = shape.k;
        g.lda = a.ld();
        g.ldb = b.ld();
        g.relu = shape.relu;
        g.y_bf16 = shape.y_bf16;
        return g;
    }
    void run() {
        for (size_t j = 0; kernel.a == dtype::u8 && j < shape.n; j++) {
            double sum = 0;
            for (size_t k = 0; k < shape.k; k++) sum += b_values[k * shape.n + j];
            column_start.at(0, j) = static_cast<int32_t>(-128 * sum);
        }
        for (size_t i = 0; i < shape.m; i++) std::memcpy(y.at(i, 0), init.at(i, 0), shape.n * size_of(y.type));
        call(args());
    }
    void call(const gemm_fused_args &g) {
        const scope_guard scope(kernel.scope);
        if (kernel.fused) return kernel.fused(g);
        kernel.panel({g, shape.accumulate, 0});
    }
    // Returns the sum of of(term) over all terms, after the epilogue. With absolute values it bounds the rounding
    // errors.
    double result(size_t i, size_t j, double (*of)(double)) {
        double sum = shape.accumulate ? of(init.get(i, j)) : 0;
        for (size_t k = 0; k < shape.k; k++) sum += of(a_values[i * shape.k + k] * b_values[k * shape.n + j]);
        if (integers(kernel)) sum *= double{row_scale.at(0, i)};
        if (kernel.b == dtype::s8) sum *= double{column_scale.at(0, j)};
        if (shape.bias && !shape.accumulate) sum += of(double{bias.at(0, j)});
        if (shape.relu && sum < 0) sum = 0;
        if (shape.activate) sum *= 2;
        if (shape.residual) sum += of(shape.in_place ? init.get(i, j) : residual.get(i, j));
        return sum;
    }
    double want(size_t i, size_t j) {
        return result(i, j, [](double v) { return v; });
    }
    double bound(size_t i, size_t j) {
        const double size = result(i, j, [](double v) { return std::abs(v); });
        return static_cast<double>(shape.k + 4) * unit * size + (shape.y_bf16 ? bf16_unit * std::abs(want(i, j)) : 0);
    }
    void check() {
        run();
        check_close(
            kernel.name, shape.text(), shape.m, shape.n, [&](size_t i, size_t j) { return y.get(i, j); },
            [&](size_t i, size_t j) { return want(i, j); }, [&](size_t i, size_t j) { return bound(i, j); });
        INFO(kernel.name << " " << shape.text());
        CHECK((a.bytes.intact() && b.bytes.intact() && bias.intact() && y.bytes.intact() && residual.bytes.intact()));
    }
};

// The most rows of a test. Panels of kernels for few outputs have many times the rows that fit their registers.
size_t tested_rows(const gemm_kernel &kernel) {
    return kernel.fused ? 80 : kernel.max_n ? 18 : kernel.mr;
}

// The numbers of rows to test: all that a panel can have; for fused kernels some around the heights of tiles.
std::vector<size_t> heights(const gemm_kernel &kernel) {
    std::vector<size_t> m;
    for (size_t i = 1; i <= std::min<size_t>(tested_rows(kernel), kernel.mr); i++) m.push_back(i);
    if (kernel.fused) m.insert(m.end(), {33, 47, 48, 49, 64, 70, 97});
    if (m.back() < kernel.mr) m.push_back(kernel.mr);
    return m;
}

template <class F>
void for_each_gemm(F &&f) {
    for (const gemm_kernel &kernel : gemm_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            f(kernel, random);
        }
    }
}

}  // namespace

TEST_CASE("gemm: every row count, column remainder and mode") {
    for_each_gemm([](const gemm_kernel &kernel, seeded &random) {
        const size_t nt = kernel.nt;
        unsigned mode = 0;
        for (const size_t m : heights(kernel))
            for (const size_t n : {size_t{1}, nt - 1, nt, nt + 1, 2 * nt, 2 * nt + nt / 2, 4 * nt, 5 * nt - 1})
                for (const size_t steps : {1, 2, 3, 5, 13}) {
                    if (n == 0) continue;
                    mode += 5;  // all modes in turn
                    gemm_shape shape{
                        m,           n, steps * kernel.k_multiple, (mode & 1) != 0, (mode & 2) != 0, (mode & 4) != 0,
                        mode / 8 % 3};
                    shape.activate = mode / 8 & 1;
                    shape.residual = mode / 16 & 1;
                    shape.in_place = mode / 32 & 1;
                    shape.y_bf16 = mode / 64 & 1;
                    gemm_problem(kernel, shape, random, mode / 128 % 2 ? guard::before : guard::after).check();
                }
    });
}

// SS1_TEST_SHAPES is their number for each kernel.
TEST_CASE("gemm: the models' and random shapes") {
    const char *const given = std::getenv("SS1_TEST_SHAPES");
    const int shapes = given ? std::atoi(given) : 60;
    for_each_gemm([shapes](const gemm_kernel &kernel, seeded &random) {
        for (const size_t k : {13, 256, 479, 512})
            for (const size_t m : {1u, kernel.mr}) {
                gemm_problem(kernel, {m, 2 * kernel.nt + 1u, k, false, true, true, 0}, random).check();
                gemm_problem(kernel, {m, 96, k, true, false, false, 3}, random).check();
            }
        for (int round = 0; round < shapes; round++) {
            const auto flag = [&] { return random.index(0, 1) == 1; };
            const size_t m = random.index(1, kernel.fused ? 100 : kernel.mr);
            gemm_shape shape{m, random.index(1, 150), random.index(1, 130), flag(), flag(), flag(), random.index(0, 5)};
            shape.activate = flag(), shape.residual = flag(), shape.in_place = flag(), shape.y_bf16 = flag();
            gemm_problem(kernel, shape, random).check();
        }
    });
}

TEST_CASE("gemm: bits do not depend on the number of rows and columns, nor on the row's position") {
    for_each_gemm([](const gemm_kernel &kernel, seeded &random) {
        const size_t n = 5 * kernel.nt, M = tested_rows(kernel), whole = kernel.row_multiple;
        gemm_problem all(kernel, {M, n, 67, false, true, false, 1}, random);
        all.run();
        guarded<float> y(M, n, n);
        size_t different = 0;
        for (size_t first = 0; first < M; first += kernel.fused ? 7 : 1)
            for (size_t m = 1; first + round_up(m, whole) <= M; m += kernel.fused ? 5 : 1)
                for (const size_t columns : {n, n - 1, kernel.nt * size_t{3}, size_t{kernel.nt}, size_t{1}}) {
                    gemm_fused_args args = all.args();
                    args.a = all.a.at(first, 0);
                    if (args.row_scale) args.row_scale += first;
                    args.y = y.data();
                    args.ldy = y.ld();
                    args.m = m;
                    args.n = columns;
                    all.call(args);
                    for (size_t i = 0; i < m; i++)
                        different += std::memcmp(&y.at(i, 0), all.y.at(first + i, 0), columns * sizeof(float)) != 0;
                }
        CHECK(different == 0);
    });
}

TEST_CASE("gemm: sums that wait between parts of k have the bits of those that do not") {
    for_each_gemm([](const gemm_kernel &kernel, seeded &random) {
        if (!kernel.fused) return;
        for (const size_t m : {16, 17, 32, 33, 50, 64, 97})
            for (const size_t n : {1, 16, 33, 64, 150})
                for (const size_t steps : {15, 16, 17, 33, 50}) {
                    gemm_shape shape{m, n, steps * kernel.k_multiple, false, true, random.index(0, 1) == 1, 1};
                    shape.activate = random.index(0, 1) == 1, shape.residual = random.index(0, 1) == 1;
                    shape.y_bf16 = random.index(0, 1) == 1;
                    gemm_problem problem(kernel, shape, random);
                    problem.run();
                    const auto *y = reinterpret_cast<const std::byte *>(problem.y.data());
                    const size_t bytes = ((m - 1) * problem.y.ld() + n) * size_of(problem.y.type);
                    const std::vector<std::byte> at_once(y, y + bytes);
                    const size_t sums = kernel.mr * round_up(n, 32);
                    guarded<float> partial(1, sums, sums, guard::after, 64);
                    gemm_fused_args args = problem.args();
                    args.partial = partial.data();
                    problem.call(args);
                    INFO(kernel.name << " " << shape.text());
                    CHECK(std::equal(at_once.begin(), at_once.end(), y));
                    CHECK((partial.intact() && problem.y.bytes.intact()));
                }
    });
}

TEST_CASE("gemm: a NaN at any k reaches its row or column, through ReLU") {
    for_each_gemm([](const gemm_kernel &kernel, seeded &random) {
        if (integers(kernel)) return;  // no NaN there: quantize puts it into the row's scale
        const size_t n = 2 * kernel.nt + 1u;
        const size_t k = fit(kernel, {1, 1, 37, false, false, false, 0}).k;
        for (const size_t m : {1u, kernel.mr})
            for (size_t p = 0; p < k; p++) {
                gemm_problem problem(kernel, {m, n, k, false, true, true, 0}, random);
                if (p % 2 == 0 || kernel.b == dtype::s8) {
                    problem.set_a(p % m, p, nan_value);
                } else {
                    problem.set_b(p, p % n, nan_value);
                }
                problem.check();  // NaN exactly where the double computation has it
            }
    });
}

TEST_CASE("gemm: integers: the largest sums are exact, a row's NaN scale reaches the whole row") {
    for_each_gemm([](const gemm_kernel &kernel, seeded &random) {
        if (!integers(kernel)) return;
        const size_t rows = std::min<size_t>(kernel.mr, 2);
        for (const size_t negative : {0, 1}) {  // the row, if there is one, whose values are all -127
            gemm_problem problem(kernel, {rows, 3, 130'000, false, false, false, 0}, random);
            for (size_t k = 0; k < problem.shape.k; k++) {
                for (size_t i = 0; i < rows; i++) problem.set_a(i, k, i == negative ? -127 : 127);
                for (size_t j = 0; j < 3; j++) problem.set_b(k, j, j ? 127 : -127);
            }
            problem.row_scale.fill([] { return 1.0f; });
            problem.column_scale.fill([] { return 1.0f; });
            problem.run();
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < 3; j++) CHECK(static_cast<float>(problem.want(i, j)) == problem.y.get(i, j));
            problem.row_scale.at(0, rows - 1) = nan_value;
            problem.run();
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < 3; j++) CHECK(std::isnan(problem.y.get(i, j)) == (i == rows - 1));
        }
    });
}

// -------------------------------------------------------------------------------------------------------------- sketch

namespace {

struct sketch_shape {
    size_t m, k, block_k, c, sketches = 1;
};

void check_sketch(const sketch_kernel &kernel, const sketch_shape &s, seeded &random) {
    const size_t groups = (s.k + s.c * s.block_k - 1) / (s.c * s.block_k), columns = groups * s.block_k;
    const size_t lds = columns + random.index(0, 3), gap = random.index(0, 3), stride = s.m * lds + gap;
    matrix x(kernel.x, s.m, s.k, s.k + random.index(0, 3), random.index(0, 1) ? guard::after : guard::before);
    // All sketches are rows of one matrix, if there is no gap between them.
    const size_t rows = gap ? s.m : s.m * s.sketches, sketches = gap ? 1 : s.sketches;
    matrix to(kernel.s, rows, columns, lds);
    std::vector<sketch_entry> entries(sketches * groups * s.c);
    for (size_t i = 0; i < s.m; i++)
        for (size_t j = 0; j < s.k; j++) {
            const uint16_t half = static_cast<uint16_t>(0x2c00 + random.index(0, 0x1000) + random.index(0, 1) * 0x8000);
            if (kernel.x == dtype::f16) {
                std::memcpy(x.at(i, j), &half, sizeof half);
            } else {
                x.set(i, j, random.uniform());
            }
        }
    // All rotations are multiples of a step, as in a mapping; kernels may have fast paths for some steps.
    const size_t step = std::vector<size_t>{1, 4, 8, 16}[random.index(0, 3)];
    for (sketch_entry &entry : entries)
        entry = {static_cast<uint16_t>(random.index(0, s.block_k / step - 1) * step),
                 static_cast<uint16_t>(random.index(0, 1))};
    kernel.run({.x = x.data(),
                .s = to.data(),
                .entries = entries.data(),
                .m = s.m,
                .k = s.k,
                .ldx = x.ld(),
                .lds = lds,
                .block_k = s.block_k,
                .c = s.c,
                .groups = groups,
                .sketches = sketches,
                .sketch_stride = stride});

    // Only additions round, and the contract gives their order, so the bits are exact.
    const auto want = [&](size_t row, size_t j) {
        const size_t sketch = row / s.m, i = row % s.m, g = j / s.block_k, u = j % s.block_k;
        float sum = 0;
        for (size_t q = 0; q < s.c; q++) {
            const sketch_entry &entry = entries[(sketch * groups + g) * s.c + q];
            const size_t column = (g * s.c + q) * s.block_k + (u + entry.rotation) % s.block_k;
            const float value = column < s.k ? static_cast<float>(x.get(i, column)) : 0.0f;
            sum += entry.negative ? -value : value;
        }
        return kernel.s == dtype::bf16 ? bf16_to_f32(bf16_from_f32(sum)) : sum;
    };
    std::ostringstream shape;
    shape << "m=" << s.m << " k=" << s.k << " B_K=" << s.block_k << " c=" << s.c << " sketches=" << sketches
          << " V=" << step;
    check_close(
        kernel.name, shape.str(), rows, columns, [&](size_t i, size_t j) { return to.get(i, j); }, want,
        [](size_t, size_t) { return 0.0; });
    INFO(kernel.name << " " << shape.str());
    CHECK((x.bytes.intact() && to.bytes.intact()));
}

template <class F>
void for_each_sketch(F &&f) {
    for (const sketch_kernel &kernel : sketch_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            f(kernel, random);
        }
    }
}

}  // namespace

TEST_CASE("sketch: any rotation, every block length and tail, one or several") {
    for_each_sketch([](const sketch_kernel &kernel, seeded &random) {
        for (const size_t block_k : {16, 32, 64, 128, 256})
            for (const size_t c : {1, 2, 3, 4, 8}) {
                const size_t group = c * block_k;
                // Groups of short blocks: every tail length. Of long blocks: a random sample and the edges.
                const size_t step = group <= 64 ? 1 : group / 37;
                for (size_t k = 1; k <= 2 * group; k += random.index(1, 2 * step - 1))
                    check_sketch(kernel, {1, k, block_k, c, random.index(1, 3)}, random);
                for (const size_t k : {group - 1, group, group + 1, 2 * group, 3 * group - block_k + 5})
                    check_sketch(kernel, {3, k, block_k, c}, random);
                // Kernels may take some rows at a time, and may read rotations of whole vectors in their own way.
                for (size_t i = 0; group <= 512 && i < 4; i++)
                    check_sketch(kernel, {19, 2 * group + i, block_k, c, i % 3 + 1}, random);
            }
        check_sketch(kernel, {2, 479, 64, 4, 8}, random);
        // Larger than the buffers of kernels: for a group of several sketches, for many groups, for one group.
        check_sketch(kernel, {2, 3000, 256, 16, 2}, random);
        check_sketch(kernel, {2, 19195, 16, 2}, random);
        check_sketch(kernel, {2, 35833, 256, 70}, random);
    });
}

TEST_CASE("sketch: NaN and infinities arrive") {
    for_each_sketch([](const sketch_kernel &kernel, seeded &) {
        constexpr size_t K = 64;
        for (const bool nan : {false, true})
            for (size_t k = 0; k < K; k++) {
                matrix x(kernel.x, 1, K, K), s(kernel.s, 1, 16, 16);
                const uint16_t half = nan ? 0x7e00 : 0x7c00;
                if (kernel.x == dtype::f16) {
                    std::memcpy(x.at(0, k), &half, sizeof half);
                } else {
                    x.set(0, k, nan ? nan_value : infinity);
                }
                const sketch_entry entries[4] = {{3, 0}, {0, 1}, {15, 0}, {8, 1}};
                kernel.run({.x = x.data(),
                            .s = s.data(),
                            .entries = entries,
                            .m = 1,
                            .k = K,
                            .ldx = K,
                            .lds = 16,
                            .block_k = 16,
                            .c = 4,
                            .groups = 1,
                            .sketches = 1,
                            .sketch_stride = 0});
                size_t hit = 0;
                for (size_t j = 0; j < 16; j++) hit += nan ? std::isnan(s.get(0, j)) : std::isinf(s.get(0, j));
                INFO(kernel.name << " k=" << k << " nan=" << nan);
                CHECK(hit == 1);
            }
    });
}

// ------------------------------------------------------------------------------------------------- quantize and store

TEST_CASE("quantize: the reference's definition; every row gives the same bits") {
    // Check the definition on the reference.
    seeded random;
    {
        guarded<float> s(1, 100, 100), scale(1, 1, 1);
        guarded<int8_t> q(1, 100, 100);
        s.fill([&] { return random.uniform(-3, 3); });
        select_quantize(dtype::f32, isa::none)
            .run({.s = s.data(),
                  .q = q.data(),
                  .scale = scale.data(),
                  .m = 1,
                  .n = 100,
                  .lds = 100,
                  .ldq = 100,
                  .zero = 0});
        float max = 0;
        for (size_t j = 0; j < 100; j++) max = std::max(max, std::abs(s.at(0, j)));
        CHECK(scale.at(0, 0) == Approx(max / 127).epsilon(1e-6));
        for (size_t j = 0; j < 100; j++)
            CHECK(std::abs(q.at(0, j) * scale.at(0, 0) - s.at(0, j)) <= 0.501f * scale.at(0, 0));
    }
    for (const quantize_kernel &kernel : quantize_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            for (size_t n = 1; n < 200; n += random.index(1, 9))
                for (const uint8_t zero : {uint8_t{0}, uint8_t{128}}) {
                    const size_t m = 9;
                    matrix s(kernel.s, m, n, n + random.index(0, 5));
                    guarded<float> scale(1, m, m), scale_want(1, m, m);
                    guarded<uint8_t> q(m, n, n + random.index(0, 5)), want(m, n, n);
                    const size_t j = random.index(0, n - 1);
                    for (size_t i = 0; i < n; i++) {
                        for (const size_t row : {0, 1, 2, 3, 8}) s.set(row, i, random.uniform(-2, 2));
                        s.set(4, i, static_cast<float>(random.index(0, 100)) + 0.5f);
                        s.set(5, i, 0);
                        s.set(6, i, 1e-40f);  // denormal in bf16, too
                        s.set(7, i, random.uniform(-2e-37f, 2e-37f));
                    }
                    s.set(1, j, nan_value);
                    s.set(2, j, infinity);
                    s.set(3, j, 1e30f);
                    s.set(4, j, 127.0f);  // scale 1: halves are ties
                    s.set(8, j, -infinity), s.set(8, n - 1, nan_value);
                    const auto run = [&](const quantize_kernel &row, guarded<uint8_t> &to, guarded<float> &scales_to) {
                        row.run({.s = s.data(),
                                 .q = to.data(),
                                 .scale = scales_to.data(),
                                 .m = m,
                                 .n = n,
                                 .lds = s.ld(),
                                 .ldq = to.ld(),
                                 .zero = zero});
                    };
                    run(kernel, q, scale);
                    run(select_quantize(kernel.s, isa::none), want, scale_want);
                    size_t different = 0, scales = 0;
                    for (size_t i = 0; i < m; i++) {
                        different += std::memcmp(&q.at(i, 0), &want.at(i, 0), n) != 0;
                        const float got = scale.at(0, i), wanted = scale_want.at(0, i);
                        scales += !(got == wanted || (std::isnan(got) && std::isnan(wanted)));
                    }
                    INFO(kernel.name << " n=" << n << " zero=" << int{zero});
                    CHECK(different == 0);
                    CHECK(scales == 0);
                    CHECK((s.bytes.intact() && q.intact() && scale.intact()));
                    CHECK(std::isnan(scale.at(0, 1)));
                    CHECK(std::isinf(scale.at(0, 2)));
                    CHECK(std::isnan(scale.at(0, 8)));
                }
        }
    }
}

TEST_CASE("quantize: rows of bf16 give the bits of the same values in f32") {
    seeded random;
    for (const size_t n : {1, 31, 64, 100, 768}) {
        matrix narrow(dtype::bf16, 3, n, n), wide(dtype::f32, 3, n, n);
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < n; j++) {
                narrow.set(i, j, random.uniform(-2, 2));
                wide.set(i, j, static_cast<float>(narrow.get(i, j)));
            }
        std::vector<int8_t> q[2] = {std::vector<int8_t>(3 * n), std::vector<int8_t>(3 * n)};
        std::vector<float> scale[2] = {std::vector<float>(3), std::vector<float>(3)};
        for (const size_t of : {0, 1})
            select_quantize(of ? dtype::bf16 : dtype::f32, isa::none)
                .run({.s = of ? narrow.data() : wide.data(),
                      .q = q[of].data(),
                      .scale = scale[of].data(),
                      .m = 3,
                      .n = n,
                      .lds = n,
                      .ldq = n,
                      .zero = 0});
        CHECK(q[0] == q[1]);
        CHECK(scale[0] == scale[1]);
    }
}

TEST_CASE("store: residual or none, in place or not, NaN stays") {
    for (const store_kernel &kernel : store_kernels()) {
        DYNAMIC_SECTION(kernel.name) {
            if (!usable(kernel.name, kernel.needs)) continue;
            seeded random;
            for (size_t n = 1; n < 80; n += random.index(1, 3))
                for (const int mode : {0, 1, 2}) {  // no residual, another matrix, y itself
                    const size_t m = 3;
                    matrix c(dtype::f32, m, n, n + random.index(0, 3)), y(kernel.y, m, n, n + random.index(0, 3));
                    matrix residual(kernel.y, m, n, n + random.index(0, 3));
                    std::vector<double> add(m * n);
                    for (size_t i = 0; i < m; i++)
                        for (size_t j = 0; j < n; j++) {
                            c.set(i, j, random.uniform());
                            y.set(i, j, random.uniform());
                            residual.set(i, j, random.uniform());
                            if (mode > 0) add[i * n + j] = (mode == 1 ? residual : y).get(i, j);
                        }
                    c.set(1, n / 2, nan_value);
                    matrix &from = mode == 1 ? residual : y;
                    kernel.run({.c = reinterpret_cast<const float *>(c.data()),
                                .y = y.data(),
                                .residual = mode ? from.data() : nullptr,
                                .m = m,
                                .n = n,
                                .ldc = c.ld(),
                                .ldy = y.ld(),
                                .ldr = from.ld()});
                    const auto want = [&](size_t i, size_t j) {
                        const float sum = static_cast<float>(c.get(i, j)) + static_cast<float>(add[i * n + j]);
                        return kernel.y == dtype::bf16 ? bf16_to_f32(bf16_from_f32(sum)) : sum;
                    };
                    check_close(
                        kernel.name, "n=" + std::to_string(n) + " mode=" + std::to_string(mode), m, n,
                        [&](size_t i, size_t j) { return y.get(i, j); }, want, [](size_t, size_t) { return 0.0; });
                    CHECK((c.bytes.intact() && y.bytes.intact() && residual.bytes.intact()));
                }
        }
    }
}
