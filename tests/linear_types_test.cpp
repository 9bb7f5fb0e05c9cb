// SPDX-License-Identifier: Apache-2.0
// Layers of every element type: comparison with double arithmetic on the rounded operands, on guarded buffers, at every
// instruction-set level of this machine; the accuracy of bf16 and int8; bits, NaN, floating-point modes.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <map>
#include <sstream>
#include <vector>

#include "base/cpu.hpp"
#include "check.hpp"
#include "layer_support.hpp"
#include "mapping/mapping.hpp"
#include "op/linear.hpp"
#include "ss1/ss1.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

namespace {

using ss1_test::guard;
using ss1_test::make_context;
using ss1_test::make_layer;
using ss1_test::make_problem;
using ss1_test::matrix;
using ss1_test::name_of;
using ss1_test::problem;

constexpr ss1_dtype x_types[] = {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_F16};
constexpr ss1_dtype weight_types[] = {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8};
constexpr ss1_dtype y_types[] = {SS1_DTYPE_F32, SS1_DTYPE_BF16};
enum class residual { none, apart, in_place };

std::string kernels_of(const ss1::layer_ptr &layer) {
    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    ss1::check(ss1_layer_describe(layer.get(), &info));
    return info.kernels;
}

bool expanded(const ss1::layer_ptr &layer) {
    return kernels_of(layer).find("expanded") != std::string::npos;
}

void run(const ss1::layer_ptr &layer, size_t m, const void *x, void *y, const void *add = nullptr) {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.y = y;
    args.residual = add;
    ss1::check(ss1_layer_run(layer.get(), &args));
}

std::string text_of(const ss1_linear_desc &d) {
    return "x " + std::string(name_of(d.x_dtype)) + " weights " + name_of(d.weight_dtype) + " y " + name_of(d.y_dtype) +
           " K " + std::to_string(d.K) + " N " + std::to_string(d.N) + " c " + std::to_string(d.c) + " rank " +
           std::to_string(d.rank) + " scheme " + std::to_string(d.scheme) + " B_K " + std::to_string(d.block_k) +
           " B_N " + std::to_string(d.block_n) + " V " + std::to_string(d.step) + " activation " +
           std::to_string(d.activation);
}

// ---------------------------------------------------------------- the oracle

constexpr double f32_eps = std::numeric_limits<float>::epsilon();
constexpr double bf16_half_ulp = 0x1p-8;  // of an 8-bit significand

// x V as a layer of its own gives it, whose bits are those inside of the layer with the part V U.
std::vector<float> times_v(const ss1::context_ptr &context, ss1_linear_desc desc, const std::vector<float> &v, size_t m,
                           matrix &x) {
    std::vector<float> y(m * desc.rank);
    desc.N = desc.rank;
    desc.c = 1;
    desc.rank = 0;
    desc.activation = SS1_ACTIVATION_NONE;
    desc.y_dtype = SS1_DTYPE_F32;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = v.data();
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x.data();
    args.ldx = x.ld();
    args.y = y.data();
    ss1::check(ss1_layer_run(ss1::make_layer(context, desc, weights).get(), &args));
    return y;
}

// The operands of the products: the sketches of x, in f32 as kernels.hpp defines their bits, followed by x V, and the
// stored weights. For a layer that runs dense: x itself and the expanded weights. `scaled`: as int8 kernels of many
// outputs take V and U, with rows of V of length sqrt(c).
struct operands {
    operands(const ss1::context_ptr &context, const problem &p, size_t m, matrix &x, bool dense, bool scaled = false)
        : desc(p.desc), map(desc) {
        if (dense) {
            w.resize(desc.N * desc.K);
            const ss1_linear_weights weights = p.weights();
            ss1::check(ss1_linear_expand(&p.desc, &weights, w.data(), 0));
            desc.c = 1;
            desc.rank = 0;
            map = ss1::mapping(desc);
        }
        const size_t kz = map.stored_columns, r = desc.rank;
        std::vector<float> u = p.u, v = p.v;
        for (size_t i = 0; i < r && scaled; ++i) {
            double squares = 0;
            for (size_t k = 0; k < desc.K; ++k) squares += static_cast<double>(v[i * desc.K + k]) * v[i * desc.K + k];
            const auto factor = static_cast<float>(std::sqrt(std::max(desc.c, 1u) / squares));
            for (size_t k = 0; k < desc.K; ++k) v[i * desc.K + k] *= factor;
            for (size_t n = 0; n < desc.N; ++n) u[n * r + i] /= factor;
        }
        const std::vector<float> down = r ? times_v(context, desc, v, m, x) : std::vector<float>();
        columns = kz + r;
        if (!dense) w.resize(desc.N * columns);
        for (size_t n = 0; n < desc.N && !dense; ++n) {
            std::copy_n(p.z.begin() + static_cast<ptrdiff_t>(n * kz), map.live_columns, &w[n * columns]);
            std::copy_n(u.begin() + static_cast<ptrdiff_t>(n * r), r, &w[n * columns + kz]);
        }
        blocks = desc.c <= 1 ? 1 : map.output_blocks();
        s.resize(m * blocks * columns);
        for (size_t i = 0; i < m; ++i)
            for (size_t j = 0; j < blocks; ++j) {
                float *to = &s[(i * blocks + j) * columns];
                if (kz) sketch(x, i, j, to);
                std::copy_n(down.begin() + static_cast<ptrdiff_t>(i * r), r, to + kz);
            }
    }

    void sketch(matrix &x, size_t i, size_t j, float *to) const {
        const size_t bk = desc.c == 1 ? map.stored_columns : desc.block_k;
        for (size_t g = 0; g * bk < map.stored_columns; ++g)
            for (size_t u = 0; u < bk; ++u) {
                float sum = 0;
                for (size_t q = 0; q < desc.c; ++q) {
                    const ss1::sketch_entry e = map.entry(j, g, q);
                    const size_t k = (g * desc.c + q) * bk + (u + e.rotation) % bk;
                    if (k < desc.K) sum += e.negative ? -x.get(i, k) : x.get(i, k);
                }
                to[g * bk + u] = sum;
            }
    }
    const float *s_of(size_t i, size_t n) const {
        return &s[(i * blocks + (blocks == 1 ? 0 : n / desc.block_n)) * columns];
    }
    const float *w_of(size_t n) const { return &w[n * columns]; }

    ss1_linear_desc desc;
    ss1::mapping map;
    size_t columns = 0, blocks = 0;
    std::vector<float> s, w;
};

struct value {
    double exact, error;
};
using values = std::vector<value>;  // [m, N], before the activation

double round_bf16(float v) {
    return ss1::bf16_to_f32(ss1::bf16_from_f32(v));
}

// (columns + 8) eps (sum |s||w| + |b|): one rounding for each product and addition.
values products(const operands &o, size_t m, const std::vector<float> &bias, bool round_w, bool round_s) {
    std::vector<double> w(o.w.begin(), o.w.end()), s(o.s.begin(), o.s.end());
    if (round_w) std::transform(o.w.begin(), o.w.end(), w.begin(), round_bf16);
    if (round_s) std::transform(o.s.begin(), o.s.end(), s.begin(), round_bf16);
    values result;
    for (size_t i = 0; i < m; ++i)
        for (size_t n = 0; n < o.desc.N; ++n) {
            double sum = bias.empty() ? 0 : bias[n], magnitude = std::abs(sum);
            const double *a = s.data() + (o.s_of(i, n) - o.s.data()), *b = w.data() + n * o.columns;
            for (size_t k = 0; k < o.columns; ++k) {
                sum += a[k] * b[k];
                magnitude += std::abs(a[k] * b[k]);
            }
            result.push_back({sum, static_cast<double>(o.columns + 8) * f32_eps * magnitude});
        }
    return result;
}

// Computes round(v / scale), scale = max |v| / 127. If the quotient is within a few f32 roundings of a tie, either
// neighbour is right and `loose` is 1.
struct quantized {
    std::vector<double> q, loose;
    double scale = 0;
};

quantized quantize(const float *v, size_t n) {
    quantized result;
    double max = 0;
    for (size_t k = 0; k < n; ++k) max = std::max<double>(max, std::abs(v[k]));
    result.scale = max / 127;
    for (size_t k = 0; k < n; ++k) {
        const double quotient = max > 0 ? v[k] / result.scale : 0, q = std::nearbyint(quotient);
        result.q.push_back(q);
        result.loose.push_back(0.5 - std::abs(quotient - q) < 4 * 127 * f32_eps ? 1 : 0);
    }
    return result;
}

// Allows 8 roundings of the scaled sum and the bias, and the effect of the ties.
values integer_products(const operands &o, size_t m, const std::vector<float> &bias) {
    std::vector<quantized> w, s;
    for (size_t n = 0; n < o.desc.N; ++n) w.push_back(quantize(o.w_of(n), o.columns));
    for (size_t r = 0; r < m * o.blocks; ++r) s.push_back(quantize(&o.s[r * o.columns], o.columns));
    values result;
    for (size_t i = 0; i < m; ++i)
        for (size_t n = 0; n < o.desc.N; ++n) {
            const quantized &a = s[static_cast<size_t>(o.s_of(i, n) - o.s.data()) / o.columns], &b = w[n];
            double sum = 0, ties = 0;
            for (size_t k = 0; k < o.columns; ++k) {
                sum += a.q[k] * b.q[k];
                ties += a.loose[k] * (std::abs(b.q[k]) + 1) + b.loose[k] * (std::abs(a.q[k]) + 1);
            }
            const double scale = a.scale * b.scale, add = bias.empty() ? 0 : bias[n];
            result.push_back({sum * scale + add, ties * scale + 8 * f32_eps * (std::abs(sum * scale) + std::abs(add))});
        }
    return result;
}

// Kernels for few outputs keep the sketch in f32 and add int8 weights in f32.
values widened_products(const operands &o, size_t m, const std::vector<float> &bias) {
    values result;
    std::vector<quantized> w;
    for (size_t n = 0; n < o.desc.N; ++n) w.push_back(quantize(o.w_of(n), o.columns));
    for (size_t i = 0; i < m; ++i)
        for (size_t n = 0; n < o.desc.N; ++n) {
            const float *a = o.s_of(i, n);
            double sum = 0, magnitude = 0, ties = 0;
            for (size_t k = 0; k < o.columns; ++k) {
                sum += a[k] * w[n].q[k];
                magnitude += std::abs(a[k] * w[n].q[k]);
                ties += std::abs(a[k]) * w[n].loose[k];
            }
            const double add = bias.empty() ? 0 : bias[n], eps = static_cast<double>(o.columns + 8) * f32_eps;
            result.push_back(
                {sum * w[n].scale + add, w[n].scale * (ties + eps * magnitude) + 8 * f32_eps * std::abs(add)});
        }
    return result;
}

// All results that a layer may give: a kernel may or may not round the sketch, but always does the same.
std::vector<values> expectations(const ss1::context_ptr &context, const problem &p, size_t m, matrix &x, bool dense) {
    const operands o(context, p, m, x, dense);
    switch (p.desc.weight_dtype) {
        case SS1_DTYPE_BF16:
            return {products(o, m, p.bias, true, true), products(o, m, p.bias, true, false)};
        case SS1_DTYPE_I8:
            return {integer_products(operands(context, p, m, x, dense, true), m, p.bias),
                    widened_products(o, m, p.bias)};
        default:
            return {products(o, m, p.bias, false, false)};
    }
}

// The slope of an activation is at most 1.13 (GELU); its own error is a few eps, or that of gelu_bf16. The residual
// adds one rounding, y in bf16 another.
void check_result(const std::string &what, const ss1_linear_desc &desc, size_t m, const std::vector<values> &allowed,
                  matrix *add, matrix &y) {
    const auto want = [&](const values &v, size_t i, size_t j) {
        return ss1_test::activate(desc.activation, v[i * desc.N + j].exact) +
               (add ? static_cast<double>(add->get(i, j)) : 0);
    };
    const auto bound = [&](const values &v, size_t i, size_t j) {
        const value &at = v[i * desc.N + j];
        const double active = std::abs(ss1_test::activate(desc.activation, at.exact));
        double b = 1.2 * at.error + 8 * f32_eps * active + 1e-35;
        if (desc.activation == SS1_ACTIVATION_GELU && desc.y_dtype == SS1_DTYPE_BF16)
            b += 0x1p-14 + 0x1p-18 * std::abs(at.exact);
        if (add) b += f32_eps * (active + std::abs(add->get(i, j)));
        if (desc.y_dtype == SS1_DTYPE_BF16) b += bf16_half_ulp * (std::abs(want(v, i, j)) + b);
        return b;
    };
    const values *best = nullptr;
    size_t least = SIZE_MAX;
    for (const values &v : allowed) {
        size_t bad = 0;
        for (size_t i = 0; i < m; ++i)
            for (size_t j = 0; j < desc.N; ++j) bad += !(std::abs(y.get(i, j) - want(v, i, j)) <= bound(v, i, j));
        if (bad < least) least = bad, best = &v;
    }
    if (least == 0) return;
    ss1_test::check_close(
        what, text_of(desc) + " m " + std::to_string(m), m, desc.N, [&](size_t i, size_t j) { return y.get(i, j); },
        [&](size_t i, size_t j) { return want(*best, i, j); }, [&](size_t i, size_t j) { return bound(*best, i, j); });
}

// ---------------------------------------------------------------- problems

ss1_linear_desc random_desc(ss1_test::seeded &random) {
    const auto pick = [&](std::initializer_list<size_t> choice) {
        return choice.begin()[random.index(0, choice.size() - 1)];
    };
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.scheme = random.index(0, 1) ? SS1_SCHEME_MIXED : SS1_SCHEME_REFERENCE;
    desc.c = static_cast<uint32_t>(pick({1, 2, 3, 4, 8}));
    desc.block_k = static_cast<uint32_t>(pick({16, 32, 64, 128, 256}));
    desc.step = desc.scheme == SS1_SCHEME_REFERENCE ? 8 : static_cast<uint32_t>(pick({1, 2, 4, 8, 16}));
    desc.K = desc.c == 1 ? random.index(1, 700) : desc.c * desc.block_k + random.index(0, 299);
    desc.N = random.index(0, 1) ? random.index(1, 40) : random.index(100, 330);  // expanded or not, in tiles
    desc.block_n = static_cast<uint32_t>(pick({16, 48, 64, 128, SS1_BLOCK_N_ALL, SS1_BLOCK_N_ALL}));
    desc.seed = static_cast<uint32_t>(random.index(0, UINT32_MAX));
    desc.activation = static_cast<ss1_activation>(random.index(0, 6));
    desc.rank = std::min(pick({0, 0, 1, 6, 16, 33, 64}), std::min(desc.K, desc.N));
    if (desc.rank && random.index(0, 2) == 0) desc.c = 0;
    return desc;
}

struct level_context {
    const char *level;
    ss1::context_ptr one, three;
};

const std::vector<level_context> &contexts() {
    static const std::vector<level_context> all = [] {
        std::vector<level_context> made;
        for (const char *level : ss1_test::levels_here())
            made.push_back({level, make_context(level, 1), make_context(level, 3)});
        return made;
    }();
    return all;
}

// Runs one problem at every level, on guarded buffers, with scratch of exactly the requested size.
void check_problem(const problem &p, size_t m, residual how, ss1_test::seeded &random) {
    const ss1_linear_desc &d = p.desc;
    const guard where = random.index(0, 1) ? guard::after : guard::before;
    const size_t ldy = d.N + random.index(0, 4);
    matrix x(d.x_dtype, m, d.K, d.K + random.index(0, 4), where);
    matrix r(d.y_dtype, m, d.N, how == residual::in_place ? ldy : d.N + random.index(0, 4), where);
    x.fill([&] { return random.uniform(); });
    r.fill([&] { return random.uniform(); });
    std::map<bool, std::vector<values>> expected;  // x V is that of a level
    for (const level_context &c : contexts()) {
        const auto layer = make_layer(random.index(0, 1) ? c.one : c.three, p);
        const bool dense = expanded(layer);
        if (d.rank || !expected.count(dense)) expected[dense] = expectations(c.one, p, m, x, dense);
        matrix y(d.y_dtype, m, d.N, ldy, where);
        for (size_t i = 0; i < m; ++i)
            for (size_t j = 0; j < d.N; ++j) y.set(i, j, how == residual::in_place ? r.get(i, j) : NAN);
        const size_t bytes = ss1_layer_scratch_bytes(layer.get(), m);
        ss1_test::guarded<unsigned char> scratch(1, bytes, bytes, guard::after, 64);
        scratch.fill([] { return 0xff; });
        ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
        args.m = m;
        args.x = x.data();
        args.ldx = x.ld();
        args.y = y.data();
        args.ldy = y.ld();
        args.scratch = bytes ? scratch.data() : nullptr;
        args.residual = how == residual::none ? nullptr : how == residual::in_place ? y.data() : r.data();
        args.ldr = r.ld();
        const std::string what = std::string(c.level) + " " + kernels_of(layer);
        INFO(what << " " << text_of(d) << " m " << m << " residual " << static_cast<int>(how));
        REQUIRE(bytes % 64 == 0);
        REQUIRE(ss1_layer_run(layer.get(), &args) == SS1_OK);
        check_result(what, d, m, expected[dense], how == residual::none ? nullptr : &r, y);
        CHECK((x.intact() && y.intact() && r.intact() && scratch.intact()));
    }
}

}  // namespace

TEST_CASE("random layers of every combination of types equal double arithmetic on the rounded operands") {
    ss1_test::seeded random;
    for (int round = 0; round < 3; ++round)
        for (const ss1_dtype x : x_types)
            for (const ss1_dtype w : weight_types)
                for (const ss1_dtype y : y_types)
                    for (const residual how : {residual::none, residual::apart, residual::in_place}) {
                        ss1_linear_desc desc = random_desc(random);
                        desc.x_dtype = x;
                        desc.weight_dtype = w;
                        desc.y_dtype = y;
                        const problem p = make_problem(desc, random, random.index(0, 3) != 0);
                        check_problem(p, random.index(0, 3) ? random.index(1, 70) : random.index(1, 4), how, random);
                    }
}

TEST_CASE("many rows and K in several blocks, of every weight type") {
    struct shape {
        size_t m, K, N;
        uint32_t c, block_n;
        size_t rank = 0;
    };
    ss1_test::seeded random;
    for (const shape s : {shape{301, 250, 120, 1, 0}, shape{301, 333, 300, 2, 128}, shape{37, 1100, 130, 1, 0},
                          shape{33, 2304, 300, 2, 0}, shape{17, 2048, 70, 1, 0}, shape{20, 1000, 40, 1, 0},
                          shape{301, 768, 330, 8, 128, 48}, shape{33, 2304, 300, 0, 0, 70}})
        for (const ss1_dtype w : weight_types) {
            ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
            desc.K = s.K;
            desc.N = s.N;
            desc.c = s.c;
            desc.block_n = s.block_n;
            desc.rank = s.rank;
            desc.weight_dtype = w;
            desc.activation = SS1_ACTIVATION_GELU;
            desc.x_dtype = x_types[random.index(0, 2)];
            desc.y_dtype = y_types[random.index(0, 1)];
            check_problem(make_problem(desc, random), s.m, residual::in_place, random);
        }
}

TEST_CASE("the largest sums of int8 are exact") {
    constexpr size_t K = 131072, N = 3;
    std::vector<float> z(N * K, 1.0f), x(2 * K, 1.0f);
    for (size_t k = 0; k < K; ++k) z[2 * K + k] = x[K + k] = k % 2 ? -1.0f : 1.0f;
    std::fill_n(z.begin() + K, K, -1.0f);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = K;
    desc.N = N;
    desc.weight_dtype = SS1_DTYPE_I8;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    for (const level_context &c : contexts()) {
        float y[2 * N];
        run(ss1::make_layer(c.one, desc, weights), 2, x.data(), y);
        const float k = static_cast<float>(K), want[2 * N] = {k, -k, 0, 0, 0, k};
        for (size_t i = 0; i < 2 * N; ++i) {
            INFO(c.level << " output " << i << ": " << y[i]);
            CHECK(std::abs(y[i] - want[i]) <= 8 * f32_eps * std::abs(want[i]));
        }
    }
}

// ---------------------------------------------------------------- accuracy

namespace {

enum class inputs { gaussian, outliers, student };
constexpr const char *input_names[] = {"Gaussian", "1 % x 20", "Student t, 3"};

std::vector<float> draw(inputs what, size_t n, ss1_test::seeded &random) {
    std::normal_distribution<float> gaussian;
    std::student_t_distribution<float> student(3);
    std::vector<float> x(n);
    for (float &v : x) {
        v = what == inputs::student ? student(random) : gaussian(random);
        if (what == inputs::outliers && random.index(0, 99) == 0) v *= 20;
    }
    return x;
}

// Returns |y - y_f32| / |y_f32| in Frobenius norms, for Gaussian weights.
double loss_of(const ss1::context_ptr &context, const ss1_linear_desc &desc, inputs what, size_t m,
               ss1_test::seeded &random) {
    problem p = make_problem(desc, random, false);
    p.z = draw(inputs::gaussian, p.z.size(), random);
    const std::vector<float> x = draw(what, m * desc.K, random);
    std::vector<float> exact(m * desc.N), y(m * desc.N);
    run(make_layer(context, p), m, x.data(), y.data());
    p.desc.weight_dtype = SS1_DTYPE_F32;
    run(make_layer(context, p), m, x.data(), exact.data());
    double difference = 0, norm = 0;
    for (size_t i = 0; i < y.size(); ++i) {
        difference += std::pow(static_cast<double>(y[i]) - exact[i], 2);
        norm += std::pow(exact[i], 2);
    }
    return std::sqrt(difference / norm);
}

}  // namespace

TEST_CASE("bf16 and int8 weights stay within their error bounds against f32") {
    // Measured, K x N = 479 x 1024 (a DLRM tower) / 768 x 3072 (BERT), mixed, in 1e-3:
    //                     c = 1        c = 2        c = 4        c = 8
    //   bf16, any x       2.3 / 2.3    2.3 / 2.3    2.3 / 2.3    2.3 / 2.3    (1.7 where the sketch stays in f32)
    //   i8 Gaussian       10.3 / 10.9  9.9 / 10.3   9.2 / 9.6    8.4 / 8.8
    //   i8 1 % x 20       33 / 38      26 / 28      18 / 20      13 / 15
    //   i8 Student t, 3   22 / 26      18 / 18      14 / 15      10 / 11
    // int8 suffers from the largest value of a row of s; sums of c values are less heavy-tailed, so tied layers lose
    // less. With other seeds t gives up to 31 (c = 1), 22, 20 and 13. The bounds are 1.5 times what was seen.
    struct row {
        ss1_dtype type;
        inputs what;
        double bound[4];
    };
    constexpr row table[] = {{SS1_DTYPE_BF16, inputs::gaussian, {3.6e-3, 3.6e-3, 3.6e-3, 3.6e-3}},
                             {SS1_DTYPE_BF16, inputs::outliers, {3.6e-3, 3.6e-3, 3.6e-3, 3.6e-3}},
                             {SS1_DTYPE_BF16, inputs::student, {3.6e-3, 3.6e-3, 3.6e-3, 3.6e-3}},
                             {SS1_DTYPE_I8, inputs::gaussian, {16e-3, 16e-3, 15e-3, 14e-3}},
                             {SS1_DTYPE_I8, inputs::outliers, {60e-3, 43e-3, 31e-3, 23e-3}},
                             {SS1_DTYPE_I8, inputs::student, {47e-3, 33e-3, 30e-3, 20e-3}}};
    ss1_test::seeded random;
    for (const row &r : table)
        for (const size_t K : {479, 768})
            for (size_t i = 0; i < 4; ++i)
                for (const level_context &at : contexts()) {
                    const bool best = &at == &contexts().back();
                    if (!best && !(i == 1 && K == 479))
                        continue;  // the whole table only at the best level, to save time
                    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                    desc.K = K;
                    desc.N = K == 479 ? 1024 : 3072;
                    desc.c = 1u << i;
                    desc.block_k = desc.c == 8 ? 32 : 64;  // 8 * 64 > 479
                    desc.weight_dtype = r.type;
                    const double loss = loss_of(at.one, desc, r.what, best ? 64 : 16, random);
                    INFO(at.level << " " << text_of(desc) << " x " << input_names[static_cast<int>(r.what)] << ": "
                                  << loss << " bound " << r.bound[i]);
                    CHECK(loss < r.bound[i]);
                    CHECK(loss > 1e-3);  // the requested type was used
                }
}

// ---------------------------------------------------------------- bits

TEST_CASE("every type: a row has the same bits for any thread count, batch size and position") {
    for (const level_context &at : contexts()) {
        ss1_test::seeded random;
        for (const ss1_dtype w : {SS1_DTYPE_BF16, SS1_DTYPE_I8})
            for (const ss1_dtype y_type : y_types)
                for (const auto &[c, rank] : {std::pair(1u, 0u), {2u, 0u}, {8u, 0u}, {4u, 24u}, {0u, 40u}}) {
                    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                    desc.rank = rank;
                    desc.K = 300;
                    desc.N = 330;
                    desc.block_k = 32;
                    desc.block_n = 128;
                    desc.c = c;
                    desc.scheme = c == 8 ? SS1_SCHEME_REFERENCE : SS1_SCHEME_MIXED;
                    desc.activation = SS1_ACTIVATION_GELU;
                    desc.weight_dtype = w;
                    desc.y_dtype = y_type;
                    desc.x_dtype = x_types[random.index(0, 2)];
                    // Tiled kernels use a second thread only from 8 MFLOP on, where the scalar reference would take
                    // long.
                    const std::string kernels = kernels_of(make_layer(at.one, make_problem(desc, random)));
                    const bool fast = kernels.find("gemm_f32_bf16_ref") == std::string::npos &&
                                      kernels.find("gemm_s8_s8_ref") == std::string::npos;
                    if (fast) desc.N = 1930;
                    const problem p = make_problem(desc, random);
                    const size_t m = fast ? 90 : 37, x_row = desc.K * (desc.x_dtype == SS1_DTYPE_F32 ? 4 : 2),
                                 y_row = desc.N * (y_type == SS1_DTYPE_F32 ? 4 : 2);
                    matrix x(desc.x_dtype, m, desc.K, desc.K), r(y_type, m, desc.N, desc.N);
                    x.fill([&] { return random.uniform(); });
                    r.fill([&] { return random.uniform(); });
                    std::vector<char> all(m * y_row), parts(m * y_row);
                    run(make_layer(at.one, p), m, x.data(), all.data(), r.data());
                    const auto check_parts = [&](uint32_t threads, size_t rows) {
                        const auto layer = make_layer(make_context(at.level, threads), p);
                        std::fill(parts.begin(), parts.end(), '\xff');
                        for (size_t i = 0; i < m; i += rows)
                            run(layer, std::min(rows, m - i), static_cast<char *>(x.data()) + i * x_row,
                                &parts[i * y_row], static_cast<char *>(r.data()) + i * y_row);
                        INFO(at.level << " threads " << threads << " rows at once " << rows << " " << text_of(desc));
                        CHECK((all == parts));
                    };
                    for (const uint32_t threads : {1u, 2u, 3u, 7u, 16u}) check_parts(threads, m);
                    for (const size_t rows : {1, 5, 16, 33}) check_parts(rows == 5 ? 7 : rows == 33 ? 3 : 1, rows);
                }
    }
}

TEST_CASE("K in several blocks: every type, few outputs or many, a row has the same bits for any batch size") {
    for (const level_context &at : contexts()) {
        ss1_test::seeded random;
        for (const ss1_dtype w : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8})
            for (const size_t N : {1, 3, 8, 40})
                for (const auto &[c, rank] : {std::pair(1u, 0u), {2u, 0u}, {2u, 1u}, {0u, 5u}}) {
                    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                    desc.K = random.index(1025, 2100) * std::max(c, 1u);
                    desc.N = N;
                    desc.c = c;
                    desc.rank = std::min<size_t>(rank, N);
                    desc.weight_dtype = w;
                    const problem p = make_problem(desc, random);
                    const auto layer = make_layer(at.one, p);
                    const size_t m = 70;
                    matrix x(SS1_DTYPE_F32, m, desc.K, desc.K);
                    x.fill([&] { return random.uniform(); });
                    std::vector<float> all(m * N), parts(m * N);
                    run(layer, m, x.data(), all.data());
                    for (const size_t rows : {1, 2, 5, 7, 20, 64}) {
                        std::fill(parts.begin(), parts.end(), NAN);
                        for (size_t i = 0; i < m; i += rows)
                            run(layer, std::min(rows, m - i), static_cast<float *>(x.data()) + i * desc.K,
                                &parts[i * N]);
                        INFO(at.level << " rows at once " << rows << " " << text_of(desc));
                        CHECK((all == parts));
                    }
                }
    }
}

TEST_CASE("every type: sketches that do not fit in scratch together give the bits of few rows") {
    for (const level_context &at : contexts()) {
        ss1_test::seeded random;
        for (const ss1_dtype w : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8}) {
            ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
            desc.K = 1200;
            desc.N = 4096;
            desc.c = 2;
            desc.block_n =
                128;  // 32 sketches of 0.7 to 2.5 KB: 170 rows of them take 4 MB and more, weights 2.4 MB and more
            desc.weight_dtype = w;
            desc.rank = w == SS1_DTYPE_F32 ? 0 : 70;
            const problem p = make_problem(desc, random);
            const auto layer = make_layer(at.one, p);
            REQUIRE(kernels_of(layer).find("expanded") == std::string::npos);
            const bool slow = kernels_of(layer).find("_ref") != std::string::npos;
            const size_t m = slow ? 40 : 170, rows = slow ? 13 : 1;
            matrix x(SS1_DTYPE_F32, m, desc.K, desc.K);
            x.fill([&] { return random.uniform(); });
            std::vector<float> all(m * desc.N), parts(m * desc.N);
            const size_t bytes = ss1_layer_scratch_bytes(layer.get(), m);
            INFO(at.level << " " << text_of(desc) << " scratch " << bytes);
            CHECK(bytes >= ss1_layer_scratch_bytes(layer.get(), m - 1));
            run(layer, m, x.data(), all.data());
            for (size_t i = 0; i < m; i += rows)
                run(layer, std::min(rows, m - i), static_cast<float *>(x.data()) + i * desc.K, &parts[i * desc.N]);
            CHECK((all == parts));
        }
    }
}

// ---------------------------------------------------------------- stacked layers

namespace {

// Layers of one mapping, type and V, stacked along N into one layer.
ss1::layer_ptr stack(const ss1::context_ptr &context, const std::vector<problem> &parts) {
    problem all = parts[0];
    for (size_t i = 1; i < parts.size(); ++i) {
        all.z.insert(all.z.end(), parts[i].z.begin(), parts[i].z.end());
        all.u.insert(all.u.end(), parts[i].u.begin(), parts[i].u.end());
        all.bias.insert(all.bias.end(), parts[i].bias.begin(), parts[i].bias.end());
    }
    ss1_layer *layer = nullptr;
    ss1::check(ss1::layer_create(*context, all.desc, all.weights(), &layer, parts.size()));
    return ss1::layer_ptr(layer);
}

ss1_linear_desc random_part(ss1_test::seeded &random, ss1_dtype weights) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = random.index(64, 400);
    desc.c = std::vector<uint32_t>{1, 2, 4}[random.index(0, 2)];
    desc.scheme = random.index(0, 1) ? SS1_SCHEME_REFERENCE : SS1_SCHEME_MIXED;
    desc.seed = static_cast<uint32_t>(random());
    desc.block_k = 16;
    desc.block_n = static_cast<uint32_t>(16 * random.index(1, 6));
    desc.N = random.index(1, 3) == 1 ? random.index(1, desc.block_n) : desc.block_n * random.index(1, 4);
    if (desc.scheme == SS1_SCHEME_REFERENCE || desc.c == 1) desc.N += random.index(0, 20);
    if (random.index(0, 1)) desc.rank = random.index(1, std::min<size_t>(desc.N, 40));
    if (desc.rank && random.index(0, 1)) desc.c = 0;
    desc.activation = random.index(0, 1) ? SS1_ACTIVATION_NONE : SS1_ACTIVATION_RELU;
    desc.weight_dtype = weights;
    desc.x_dtype = x_types[random.index(0, 2)];
    desc.y_dtype = y_types[random.index(0, 1)];
    return desc;
}

}  // namespace

TEST_CASE("layers of one mapping run as one give the bits of each alone") {
    for (const level_context &at : contexts()) {
        ss1_test::seeded random;
        for (const ss1_dtype w : weight_types)
            for (int round = 0; round < 16; ++round) {
                const ss1_linear_desc desc = random_part(random, w);
                INFO(at.level << " " << text_of(desc));
                const bool with_bias = random.index(0, 3) > 0;
                const size_t m = random.index(1, 100), n = random.index(2, 4),
                             y_size = desc.y_dtype == SS1_DTYPE_F32 ? 4 : 2;
                std::vector<problem> parts;
                for (size_t i = 0; i < n; ++i) {
                    parts.push_back(make_problem(desc, random, with_bias));
                    parts[i].v = parts[0].v;
                }
                REQUIRE(ss1::can_stack(*at.one, parts[0].desc, parts.size()));
                matrix x(desc.x_dtype, m, desc.K, desc.K);
                x.fill([&] { return random.uniform(); });
                const size_t row = desc.N * y_size;
                std::vector<char> want(m * n * row), one(m * row), got(want.size());
                for (size_t i = 0; i < n; ++i) {
                    run(make_layer(at.one, parts[i]), m, x.data(), one.data());
                    for (size_t r = 0; r < m; ++r) std::copy_n(&one[r * row], row, &want[(r * n + i) * row]);
                }
                for (const uint32_t threads : {1u, 2u, 7u}) {
                    const auto layer = stack(make_context(at.level, threads), parts);
                    std::fill(got.begin(), got.end(), '\xff');
                    run(layer, m, x.data(), got.data());
                    INFO("m=" << m << " parts " << n << " threads " << threads);
                    CHECK((got == want));
                }
                CHECK(kernels_of(stack(at.one, parts)) == kernels_of(make_layer(at.one, parts[0])));
            }
    }
}

TEST_CASE("layers whose last output block is incomplete are not stacked") {
    const auto context = make_context(nullptr, 1);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 128;
    desc.N = 96;
    desc.c = 2;
    desc.block_n = 64;
    ss1::check(ss1_linear_resolve(&desc, nullptr));
    CHECK_FALSE(ss1::can_stack(*context, desc, 2));
    desc.N = 128;
    CHECK(ss1::can_stack(*context, desc, 2));
    desc.c = 1;
    desc.N = 96;
    CHECK(ss1::can_stack(*context, desc, 2));
}

// ---------------------------------------------------------------- NaN and infinities

TEST_CASE("every type: a NaN or an infinity in any input reaches all outputs of its row and no other") {
    // The bits of a special value in f32, bf16 and f16.
    struct special {
        const char *name;
        uint32_t f32, bf16, f16;
    };
    constexpr special nans[] = {{"NaN", 0x7fc00000, 0x7fc0, 0x7e00},
                                {"-NaN", 0xffc00000, 0xffc0, 0xfe00},
                                {"signalling NaN", 0x7f800001, 0x7f81, 0x7c01}};
    constexpr special infinities[] = {{"Inf", 0x7f800000, 0x7f80, 0x7c00}, {"-Inf", 0xff800000, 0xff80, 0xfc00}};
    constexpr size_t K = 150;
    const auto non_finite_but = [](bool nan, float v) { return nan ? std::isnan(v) : !std::isfinite(v); };
    for (const level_context &at : contexts()) {
        ss1_test::seeded random;
        size_t nth = 0;
        for (const ss1_dtype x_type : x_types)
            for (const ss1_dtype w : weight_types)
                for (const uint32_t c : {1u, 2u, 3u}) {
                    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                    desc.K = K;
                    desc.N = nth % 2 ? 37 : 130;
                    desc.c = c;
                    desc.block_k = 32;
                    desc.block_n = nth % 4 < 2 ? SS1_BLOCK_N_ALL : 64;
                    desc.scheme = nth % 3 ? SS1_SCHEME_MIXED : SS1_SCHEME_REFERENCE;
                    desc.activation = static_cast<ss1_activation>(nth % 7);
                    desc.x_dtype = x_type;
                    desc.weight_dtype = w;
                    desc.y_dtype = y_types[nth++ % 2];
                    problem p = make_problem(desc, random);
                    const auto active = make_layer(at.one, p);
                    p.desc.activation = SS1_ACTIVATION_NONE;  // others turn infinities into finite numbers
                    const auto plain = make_layer(at.one, p);
                    size_t missed = 0, strayed = 0, first_k = K;
                    matrix few(x_type, 3, K, K), many(x_type, 35, K, K), y(desc.y_dtype, 35, desc.N, desc.N);
                    few.fill([] { return 1.0f; });
                    many.fill([] { return 1.0f; });
                    const auto check_one = [&](const special &what, bool nan, const ss1::layer_ptr &layer, size_t k) {
                        const size_t m = k % 29 ? 3 : 35, row = (k + 1) % m;
                        matrix &x = m == 3 ? few : many;
                        x.set_bits(row, k,
                                   x_type == SS1_DTYPE_F32    ? what.f32
                                   : x_type == SS1_DTYPE_BF16 ? what.bf16
                                                              : what.f16);
                        run(layer, m, x.data(), y.data());
                        x.set(row, k, 1);
                        for (size_t i = 0; i < m; ++i)
                            for (size_t n = 0; n < desc.N; ++n) {
                                const bool good =
                                    i == row ? non_finite_but(nan, y.get(i, n)) : std::isfinite(y.get(i, n));
                                if (!good) ++(i == row ? missed : strayed), first_k = std::min(first_k, k);
                            }
                    };
                    for (size_t k = 0; k < K; ++k) {
                        check_one(nans[k % 3], true, active, k);
                        check_one(infinities[k % 2], w == SS1_DTYPE_I8, plain, k);
                    }
                    INFO(at.level << " " << kernels_of(active) << " " << text_of(desc) << ": first at k " << first_k);
                    CHECK(missed == 0);
                    CHECK(strayed == 0);
                }
    }
}

// ---------------------------------------------------------------- floating-point mode

#if defined(__x86_64__) || defined(__aarch64__)
namespace {

#if defined(__x86_64__)
using control_word = uint32_t;  // MXCSR
control_word read_mode() {
    control_word w;
    asm volatile("stmxcsr %0" : "=m"(w));
    return w;
}
void write_mode(control_word w) {
    asm volatile("ldmxcsr %0" ::"m"(w));
}
// Default; rounding down, up, to zero; FTZ; DAZ; both (the library's mode), also with rounding to zero; flags raised
// before; traps for invalid, division by zero and overflow, also for underflow.
constexpr control_word modes[] = {0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x9f80, 0x1fc0, 0x9fc0,
                                  0xffc0, 0x1fbf, 0x9fe0, 0x1900, 0x7120, 0x1100};
// Ignores the flags for inexact results (planning a layer uses floating point) and for denormals (weights are checked
// to be finite).
constexpr control_word compared = ~control_word{0x22};
#else
using control_word = uint64_t;  // FPCR
control_word read_mode() {
    control_word w;
    asm volatile("mrs %0, fpcr" : "=r"(w));
    return w;
}
void write_mode(control_word w) {
    asm volatile("msr fpcr, %0" ::"r"(w));
}
// Default; rounding up, down, to zero; flush to zero, alone and with a rounding mode; default NaN.
constexpr control_word modes[] = {0, 1u << 22, 2u << 22, 3u << 22, 1u << 24, 5u << 22, 1u << 25};
constexpr control_word compared = ~control_word{0};
#endif

}  // namespace

TEST_CASE("the caller's floating-point mode is kept, and changes neither packed weights nor results") {
    const control_word usual = read_mode();
    for (const level_context &at : contexts())
        for (const ss1_dtype w : weight_types)
            for (const bool threaded : {false, true}) {
                ss1_test::seeded random;
                ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                desc.K = 256;
                desc.N = threaded ? 512 : 50;
                desc.c = 2;
                desc.weight_dtype = w;
                desc.y_dtype = y_types[random.index(0, 1)];
                desc.activation = SS1_ACTIVATION_SILU;
                problem p = make_problem(desc, random);
                std::fill_n(p.z.begin(), p.kz, 0.0f);           // an output without a scale
                std::fill_n(p.z.begin() + p.kz, p.kz, 1e-42f);  // 127 / max overflows
                const size_t m = threaded && w != SS1_DTYPE_F32 ? 97 : 17;
                matrix x(SS1_DTYPE_F32, m, desc.K, desc.K);
                x.fill([&] { return random.uniform(); });
                x.set(3, 5, NAN);
                x.set(4, 6, INFINITY);
                x.set(5, 7, 3e38f), x.set(5, 8, 3e38f), x.set(5, 7 + 64, -3e38f);
                for (size_t k = 0; k < desc.K; ++k) x.set(6, k, 1e-40f);
                const ss1::context_ptr &context = threaded ? at.three : at.one;
                std::vector<char> wanted(m * desc.N * 4), y(wanted.size());
                run(make_layer(context, p), m, x.data(), wanted.data());
                for (const control_word mode : modes) {
                    write_mode(mode);
                    ss1::layer_ptr layer;
                    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
                    weights.z = p.z.data();
                    weights.bias = p.bias.data();
                    ss1_layer *made = nullptr;
                    const ss1_status created = ss1_layer_create(context.get(), &p.desc, &weights, &made);
                    const control_word after_create = read_mode();
                    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
                    args.m = m;
                    args.x = x.data();
                    args.y = y.data();
                    write_mode(mode);
                    const ss1_status ran = ss1_layer_run(made, &args);
                    const control_word after_run = read_mode();
                    write_mode(usual);
                    ss1_layer_destroy(&made);
                    INFO(at.level << " weights " << name_of(w) << " threads " << (threaded ? 3 : 1) << " mode "
                                  << std::hex << mode << ", after create " << after_create << ", after run "
                                  << after_run);
                    CHECK(created == SS1_OK);
                    CHECK(ran == SS1_OK);
                    CHECK((after_create & compared) == (mode & compared));
                    CHECK((after_run & compared) == (mode & compared));
                    CHECK((y == wanted));
                }
            }
}

TEST_CASE("threads of the caller's pool keep their floating-point mode") {
    static std::vector<control_word> after;
    after.clear();
    const control_word usual = read_mode();
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 4;
    options.parallel_for = [](void *, size_t n, void (*task)(void *, size_t), void *arg) {
        for (size_t i = 0; i < n; ++i) {
            write_mode(modes[3 + i]);
            task(arg, i);
            after.push_back(read_mode());
        }
    };
    ss1_test::seeded random;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 512;
    desc.weight_dtype = SS1_DTYPE_I8;
    const problem p = make_problem(desc, random);
    std::vector<float> x(97 * desc.K, 1.0f);
    for (size_t i = 0; i < 97; ++i) x[i * desc.K] = INFINITY;  // infinite scale times sum 0: an invalid operation
    std::vector<float> y(97 * desc.N);
    run(make_layer(ss1::make_context(options), p), 97, x.data(), y.data());
    write_mode(usual);
    REQUIRE(after.size() == 4);
    for (size_t i = 0; i < 4; ++i) CHECK((after[i] & compared) == modes[3 + i]);
}

TEST_CASE("denormals of f32 and bf16 count as zero in a run, those of f16 as numbers") {
    struct operand {
        ss1_dtype x_type;
        float x, w, want;
    };
    // Without flushing, 1e-40 * 1e30 would be 1e-10, and 1e-20 * 1e-20 would be 1e-40.
    constexpr operand cases[] = {{SS1_DTYPE_F32, 1e-40f, 1e30f, 0},   {SS1_DTYPE_BF16, 1e-39f, 1e30f, 0},
                                 {SS1_DTYPE_F32, 1e30f, 1e-40f, 0},   {SS1_DTYPE_F32, 1e-20f, 1e-20f, 0},
                                 {SS1_DTYPE_BF16, 1e-20f, 1e-20f, 0}, {SS1_DTYPE_F16, 0x1p-24f, 2, 0x1p-23f}};
    for (const level_context &at : contexts())
        for (const ss1_dtype w : weight_types)
            for (const ss1_dtype y_type : y_types)
                for (const operand &o : cases)
                    for (const bool add : {false, true}) {
                        constexpr size_t K = 64, N = 20, m = 3;
                        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                        desc.K = K;
                        desc.N = N;
                        desc.x_dtype = o.x_type;
                        desc.weight_dtype = w;
                        desc.y_dtype = y_type;
                        std::vector<float> z(N * K);
                        for (size_t n = 0; n < N; ++n) z[n * K + n] = o.w;
                        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
                        weights.z = z.data();
                        matrix x(o.x_type, m, K, K), y(y_type, m, N, N), r(y_type, m, N, N);
                        x.fill([&] { return o.x; });
                        r.fill([] { return -1e-39f; });
                        const auto layer = ss1::make_layer(at.one, desc, weights);
                        run(layer, m, x.data(), y.data(), add ? r.data() : nullptr);
                        size_t wrong = 0;
                        for (size_t i = 0; i < m * N; ++i)
                            wrong += !(std::abs(y.get(i / N, i % N) - o.want) <= 1e-6 * o.want);
                        INFO(at.level << " " << text_of(desc) << " x " << o.x << " w " << o.w << " residual " << add
                                      << ": " << y.get(0, 0));
                        CHECK(wrong == 0);
                    }
}
#endif

// ---------------------------------------------------------------- levels

namespace {

// The instruction sets that each kernel of this build needs, by name.
std::map<std::string, ss1::isa::mask> kernel_needs() {
    std::map<std::string, ss1::isa::mask> needs;
    const auto add = [&needs](const auto &rows) {
        for (const auto &row : rows) needs[row.name] = row.needs;
    };
    add(ss1::gemm_kernels());
    add(ss1::sketch_kernels());
    add(ss1::quantize_kernels());
    add(ss1::store_kernels());
    add(ss1::activation_kernels());
    return needs;
}

// Whether the kernels of layers of all types need only `allowed`.
void check_kernels(const ss1::context_ptr &context, ss1::isa::mask allowed) {
    static const std::map<std::string, ss1::isa::mask> needs = kernel_needs();
    ss1_test::seeded random;
    for (const ss1_dtype x : x_types)
        for (const ss1_dtype w : weight_types)
            for (const ss1_dtype y : y_types) {
                ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                desc.K = 256;
                desc.N = 600;
                desc.c = 2;
                desc.x_dtype = x;
                desc.weight_dtype = w;
                desc.y_dtype = y;
                desc.activation = SS1_ACTIVATION_GELU;
                std::istringstream names(kernels_of(make_layer(context, make_problem(desc, random))));
                for (std::string name; names >> name;) {
                    if (name == "cpu" || name == "expanded") continue;
                    INFO(name);
                    REQUIRE(needs.count(name) == 1);
                    CHECK((needs.at(name) & ~allowed) == 0);
                }
            }
}

// Sets an environment variable for its lifetime.
class variable {
  public:
    variable(const char *name, const char *value) : name_(name) {
        if (const char *before = std::getenv(name)) before_ = before;
        value ? setenv(name, value, 1) : unsetenv(name);
    }
    variable(const variable &) = delete;
    variable &operator=(const variable &) = delete;
    ~variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }

  private:
    const char *name_;
    std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("dense int8 layers convert rows of f32 and bf16 without a copy") {
    const ss1::context_ptr context = make_context(nullptr, 1);
    ss1_test::seeded random;
    for (const ss1_dtype x : x_types) {
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = 256;
        desc.N = 600;
        desc.c = 1;
        desc.x_dtype = x;
        desc.weight_dtype = SS1_DTYPE_I8;
        const std::string kernels = kernels_of(make_layer(context, make_problem(desc, random)));
        INFO(kernels);
        CHECK((kernels.find("sketch_") != std::string::npos) == (x == SS1_DTYPE_F16));
        CHECK(kernels.find(x == SS1_DTYPE_BF16 ? "quantize_bf16_" : "quantize_f32_") != std::string::npos);
    }
}

TEST_CASE("SS1_MAX_ISA at each level: kernels at or below it, or an error that names it") {
    ss1::isa::mask allowed = 0;
    for (const ss1::isa_level &level : ss1::isa_levels()) {
        allowed |= level.bit;
        const variable max_isa("SS1_MAX_ISA", level.name);
        ss1_context *made = nullptr;
        const ss1_status status = ss1_context_create(nullptr, &made);
        INFO(level.name << ": " << ss1_last_error());
        if ((ss1::cpu_detect_isas() & level.bit) != level.bit) {
            CHECK(status == SS1_ERROR_UNSUPPORTED);
            CHECK(std::string(ss1_last_error()).find("SS1_MAX_ISA=" + std::string(level.name) + " is above") !=
                  std::string::npos);
            CHECK(made == nullptr);
            continue;
        }
        REQUIRE(status == SS1_OK);
        const ss1::context_ptr context(made);
        check_kernels(context, allowed & ss1::cpu_detect_isas());
        ss1_info info = SS1_INFO_INIT;
        ss1::check(ss1_get_info(made, &info));
        bool above = false;
        for (size_t i = 0; i < info.n_isas; ++i) {
            if (above) CHECK(info.isas[i].used == 0);
            above |= std::string(info.isas[i].name) == level.name;
        }
    }
    const variable max_isa("SS1_MAX_ISA", "pentium");
    ss1_context *made = nullptr;
    CHECK(ss1_context_create(nullptr, &made) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(std::string(ss1_last_error()).find("SS1_MAX_ISA=pentium is not one of none") != std::string::npos);
}

// ---------------------------------------------------------------- tiles denied

#if defined(__x86_64__) && defined(__linux__)
namespace {

// Makes arch_prctl(ARCH_REQ_XCOMP_PERM) fail in this process and every program that it starts.
bool deny_tiles(int error) {
    constexpr uint32_t arch_req_xcomp_perm = 0x1023;
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch_req_xcomp_perm, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {std::size(filter), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("tiles denied: the child", "[.denied]") {
    const std::string error = std::getenv("SS1_TEST_DENIED") ? std::getenv("SS1_TEST_DENIED") : "";
    const auto context = ss1::make_context();
    ss1_info info = SS1_INFO_INIT;
    ss1::check(ss1_get_info(context.get(), &info));
    size_t tiles = 0;
    for (size_t i = 0; i < info.n_isas; ++i) {
        if (std::string(info.isas[i].name).rfind("amx", 0) != 0) continue;
        INFO(info.isas[i].name << ": " << info.isas[i].reason);
        CHECK(info.isas[i].used == 0);
        const std::string reason = info.isas[i].reason;
        CHECK(reason.find("found, but the system denies tile data to this process") == 0);
        CHECK(reason.find(error) != std::string::npos);
        ++tiles;
    }
    CHECK(tiles == 2);
    for (size_t i = 0; i < info.n_kernels; ++i)
        if (std::string(info.kernels[i].name).find("amx") != std::string::npos) CHECK(info.kernels[i].used == 0);
    const ss1::isa::mask no_tiles = ss1::cpu_detect_isas() & ~(ss1::isa::amx_bf16 | ss1::isa::amx_int8);
    check_kernels(context, no_tiles);
    // Naming the level gives no error, since the machine has it, but the library does not use it.
    check_kernels(make_context("amx_int8", 1), no_tiles);
    // contexts() returns the remaining levels.
    ss1_test::seeded random;
    for (const ss1_dtype w : weight_types) {
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = 300;
        desc.N = 120;
        desc.c = 2;
        desc.weight_dtype = w;
        check_problem(make_problem(desc, random), 33, residual::none, random);
    }
}

TEST_CASE("if the system denies tiles, the library works without them and says why") {
    if (!(ss1::cpu_detect_isas() & ss1::isa::amx_bf16)) {
        WARN("skipped: this CPU has no AMX");
        return;
    }
    const std::map<std::string, int> errors = {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}};
    for (const auto &[name, error] : errors) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            setenv("SS1_TEST_DENIED", name.c_str(), 1);
            unsetenv("SS1_MAX_ISA");
            // This process may already have the permission; only a new program asks again.
            if (!deny_tiles(error)) _exit(77);
            execl("/proc/self/exe", "linear_types_test", "[.denied]", static_cast<char *>(nullptr));
            _exit(127);
        }
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        INFO(name << ": the child's status is " << status << "; its own report is above");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
            WARN("skipped: no seccomp filter can be installed here");
        } else {
            CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
        }
    }
}
#endif
