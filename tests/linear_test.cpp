// SPDX-License-Identifier: Apache-2.0
// Layers against X . ss1_linear_expand(Z, U, V) + b in double, at every instruction-set level of this machine, on
// guarded buffers.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"
#include "layer_support.hpp"
#include "ss1/ss1.hpp"

namespace {

using ss1_test::activate;
using ss1_test::make_context;
using ss1_test::make_layer;
using ss1_test::make_problem;
using ss1_test::problem;

void run(const ss1::layer_ptr &layer, size_t m, const float *x, size_t ldx, float *y, size_t ldy) {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    args.ldy = ldy;
    ss1::check(ss1_layer_run(layer.get(), &args));
}

// |got - exact| <= (K/c + c + 8) eps (sum |x||w| + |b|): one rounding per multiply, add and sketch addition; with a
// low-rank part its K + rank more, and sum |x||v||u|. The largest slope of an activation is 1.13 (GELU); the error of
// the activation itself is a few eps of its value.
void check_against_double(const problem &p, size_t m, const float *x, size_t ldx, const float *y, size_t ldy) {
    const std::vector<float> dense = p.dense();
    const double eps = std::numeric_limits<float>::epsilon();
    const size_t K = p.desc.K, rank = p.desc.rank, roundings = p.kz + p.desc.c + 8 + (rank ? K + rank : 0);
    std::vector<double> down(rank);
    for (size_t i = 0; i < m; ++i) {
        for (size_t r = 0; r < rank; ++r) {
            down[r] = 0;
            for (size_t k = 0; k < K; ++k) down[r] += std::abs(static_cast<double>(x[i * ldx + k]) * p.v[r * K + k]);
        }
        for (size_t n = 0; n < p.desc.N; ++n) {
            double sum = p.bias.empty() ? 0.0 : p.bias[n], magnitude = std::abs(sum);
            for (size_t k = 0; k < p.desc.K; ++k) {
                const double product = static_cast<double>(x[i * ldx + k]) * dense[n * p.desc.K + k];
                sum += product;
                magnitude += std::abs(product);
            }
            for (size_t r = 0; r < rank; ++r) magnitude += down[r] * std::abs(p.u[n * rank + r]);
            const double exact = activate(p.desc.activation, sum);
            const double bound =
                1.2 * static_cast<double>(roundings) * eps * (magnitude + 1e-30) + 8 * eps * std::abs(exact);
            const double difference = std::abs(y[i * ldy + n] - exact);
            if (!(difference <= bound)) {
                INFO("row " << i << " output " << n << " got " << y[i * ldy + n] << " expected " << exact << " bound "
                            << bound);
                REQUIRE(difference <= bound);
            }
        }
    }
}

ss1_linear_desc random_desc(ss1_test::seeded &random) {
    const auto pick = [&](std::initializer_list<size_t> values) {
        return values.begin()[random.index(0, values.size() - 1)];
    };
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.scheme = random.index(0, 1) ? SS1_SCHEME_MIXED : SS1_SCHEME_REFERENCE;
    desc.c = static_cast<uint32_t>(pick({1, 1, 2, 3, 4, 5, 8}));
    desc.block_k = static_cast<uint32_t>(pick({16, 32, 64, 128, 256}));
    desc.step = desc.scheme == SS1_SCHEME_REFERENCE ? 8 : static_cast<uint32_t>(pick({1, 2, 4, 8, 16}));
    desc.K = desc.c == 1 ? random.index(1, 700) : desc.c * desc.block_k + random.index(0, 299);
    desc.N = random.index(1, 130);
    desc.block_n = static_cast<uint32_t>(pick({16, 32, 48, 64, 128, SS1_BLOCK_N_ALL}));
    desc.seed = static_cast<uint32_t>(random.index(0, UINT32_MAX));
    desc.activation = static_cast<ss1_activation>(random.index(0, 6));
    desc.rank = std::min(pick({0, 0, 1, 5, 16, 33}), std::min(desc.K, desc.N));
    if (desc.rank && random.index(0, 2) == 0) desc.c = 0;
    return desc;
}

}  // namespace

TEST_CASE("random layers equal X . expand(Z, U, V) + b at every level") {
    for (const char *level : ss1_test::levels_here()) {
        const auto context = make_context(level, 1);
        ss1_test::seeded random;
        for (int round = 0; round < 60; ++round) {
            const problem p = make_problem(random_desc(random), random, random.index(0, 3) != 0);
            const auto layer = make_layer(context, p);
            const size_t m = random.index(0, 40), ldx = p.desc.K + random.index(0, 4),
                         ldy = p.desc.N + random.index(0, 4);
            INFO(level << ": m " << m << " K " << p.desc.K << " N " << p.desc.N << " c " << p.desc.c << " rank "
                       << p.desc.rank << " scheme " << p.desc.scheme << " B_K " << p.desc.block_k << " B_N "
                       << p.desc.block_n << " V " << p.desc.step << " activation " << p.desc.activation);
            ss1_test::guarded<float> x(m, p.desc.K, ldx), y(m, p.desc.N, ldy);
            x.fill([&] { return random.uniform(); });
            run(layer, m, x.data(), ldx, y.data(), ldy);
            check_against_double(p, m, x.data(), ldx, y.data(), ldy);
            CHECK(x.intact());
            CHECK(y.intact());
        }
    }
}

TEST_CASE("the shapes of the models, with K in several blocks") {
    struct shape {
        size_t K, N;
        uint32_t c;
        size_t rank = 0;
    };
    for (const char *level : ss1_test::levels_here()) {
        const auto context = make_context(level, 2);
        ss1_test::seeded random;
        for (const shape s : {shape{13, 512, 1}, shape{479, 1024, 2}, shape{256, 1, 4}, shape{1100, 300, 1},
                              shape{2304, 96, 2}, shape{768, 768, 4}, shape{768, 768, 8, 48}, shape{1100, 300, 0, 64}})
            for (const ss1_scheme scheme : {SS1_SCHEME_MIXED, SS1_SCHEME_REFERENCE}) {
                ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                desc.K = s.K;
                desc.N = s.N;
                desc.c = s.c;
                desc.rank = s.rank;
                desc.scheme = scheme;
                const problem p = make_problem(desc, random);
                const auto layer = make_layer(context, p);
                INFO(level << ": K " << s.K << " N " << s.N << " c " << s.c << " rank " << s.rank << " scheme "
                           << scheme);
                const size_t m = 29;
                std::vector<float> x(m * s.K), y(m * s.N);
                for (float &v : x) v = random.uniform();
                run(layer, m, x.data(), s.K, y.data(), s.N);
                check_against_double(p, m, x.data(), s.K, y.data(), s.N);
            }
    }
}

TEST_CASE("a row has the same bits for any thread count, batch size and position") {
    for (const char *level : ss1_test::levels_here()) {
        ss1_test::seeded random;
        for (const auto &[c, rank] : {std::pair(1u, 0u), {2u, 0u}, {8u, 0u}, {8u, 24u}, {0u, 40u}})
            for (const ss1_scheme scheme : {SS1_SCHEME_MIXED, SS1_SCHEME_REFERENCE}) {
                ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                desc.K = 300;
                desc.N = 330;
                desc.block_k = 32;
                desc.block_n = 128;
                desc.c = c;
                desc.rank = rank;
                desc.scheme = scheme;
                desc.activation = SS1_ACTIVATION_GELU;
                const problem p = make_problem(desc, random);
                const size_t m = 45;
                std::vector<float> x(m * desc.K), all(m * desc.N), one(m * desc.N);
                for (float &v : x) v = random.uniform();
                run(make_layer(make_context(level, 1), p), m, x.data(), desc.K, all.data(), desc.N);
                for (const uint32_t threads : {1u, 2u, 3u, 7u, 16u}) {
                    const auto layer = make_layer(make_context(level, threads), p);
                    for (const size_t step : {size_t{1}, size_t{2}, size_t{5}, size_t{16}, m}) {
                        std::fill(one.begin(), one.end(), NAN);
                        for (size_t i = 0; i < m; i += step)
                            run(layer, std::min(step, m - i), &x[i * desc.K], desc.K, &one[i * desc.N], desc.N);
                        INFO(level << " threads " << threads << " rows at once " << step << " c " << c << " rank "
                                   << rank << " scheme " << scheme);
                        CHECK(std::memcmp(all.data(), one.data(), all.size() * sizeof(float)) == 0);
                    }
                }
            }
    }
}

TEST_CASE("the caller's scratch is sufficient and not overrun") {
    const auto context = make_context(nullptr, 3);
    ss1_test::seeded random;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 512;
    desc.N = 640;
    desc.c = 4;
    desc.block_n = GENERATE(256, 32);  // 3 sketches that fit in scratch together, 20 that do not
    desc.rank = GENERATE(0, 20);
    const problem p = make_problem(desc, random);
    const auto layer = make_layer(context, p);
    for (const size_t m : {1, 3, 17, 200, 900}) {
        const size_t bytes = ss1_layer_scratch_bytes(layer.get(), m);
        REQUIRE(bytes % 64 == 0);
        ss1_test::guarded<char> scratch(1, bytes, bytes, ss1_test::guard::after, 64);
        std::vector<float> x(m * desc.K, 0.5f), y(m * desc.N), pooled(m * desc.N);
        ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
        args.m = m;
        args.x = x.data();
        args.y = y.data();
        args.scratch = scratch.data();
        ss1::check(ss1_layer_run(layer.get(), &args));
        run(layer, m, x.data(), 0, pooled.data(), 0);
        CHECK(std::memcmp(y.data(), pooled.data(), y.size() * sizeof(float)) == 0);
        CHECK(scratch.intact());
    }
    CHECK(ss1_layer_scratch_bytes(layer.get(), 0) == 0);
    CHECK(ss1_layer_scratch_bytes(layer.get(), 1u << 20) == ss1_layer_scratch_bytes(layer.get(), 1u << 16));
}

TEST_CASE("a NaN in any input affects only the outputs of its row") {
    for (const char *level : ss1_test::levels_here()) {
        const auto context = make_context(level, 1);
        ss1_test::seeded random;
        for (const ss1_activation what :
             {SS1_ACTIVATION_NONE, SS1_ACTIVATION_RELU, SS1_ACTIVATION_GELU, SS1_ACTIVATION_SIGMOID}) {
            ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
            desc.K = 150;
            desc.N = 40;
            desc.c = 2;
            desc.block_k = 32;
            desc.rank = what == SS1_ACTIVATION_RELU ? 10 : 0;
            desc.activation = what;
            const problem p = make_problem(desc, random);
            const auto layer = make_layer(context, p);
            for (size_t k = 0; k < desc.K; ++k) {
                std::vector<float> x(3 * desc.K, 1.0f), y(3 * desc.N);
                x[desc.K + k] = NAN;
                run(layer, 3, x.data(), 0, y.data(), 0);
                size_t nan_row = 0, nan_else = 0;
                for (size_t n = 0; n < desc.N; ++n) {
                    nan_row += std::isnan(y[desc.N + n]);
                    nan_else += std::isnan(y[n]) + std::isnan(y[2 * desc.N + n]);
                }
                INFO(level << " activation " << what << " k " << k);
                CHECK(nan_row == desc.N);
                CHECK(nan_else == 0);
            }
        }
    }
}
