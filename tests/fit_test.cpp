// SPDX-License-Identifier: Apache-2.0
// The closed forms beside sums in plain loops: they are exact where the weight has the structure, no other values of
// the parts are better, and the error is what it says.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "mapping/fit.hpp"
#include "mapping/mapping.hpp"
#include "mapping/project.hpp"

namespace {

using floats = std::vector<float>;
using doubles = std::vector<double>;

floats draw(ss1_test::seeded &random, size_t n) {
    floats values(n);
    for (float &v : values) v = random.uniform();
    return values;
}

// Correlated inputs of unequal energy with a mean.
struct moments {
    size_t K;
    doubles second, mean, covariance;

    moments(ss1_test::seeded &random, size_t inputs, size_t rows)
        : K(inputs), second(K * K), mean(K), covariance(K * K) {
        doubles x(K);
        const floats mix = draw(random, K * K);
        for (size_t r = 0; r < rows; ++r) {
            const floats source = draw(random, K);
            for (size_t k = 0; k < K; ++k) {
                x[k] = 0.5 + source[k];
                for (size_t i = 0; i < K; ++i)
                    x[k] += static_cast<double>(mix[k * K + i] * source[i]) / static_cast<double>(1 + i);
            }
            const auto share = 1.0 / static_cast<double>(rows);
            for (size_t i = 0; i < K; ++i) mean[i] += x[i] * share;
            for (size_t i = 0; i < K * K; ++i) second[i] += x[i / K] * x[i % K] * share;
        }
        for (size_t i = 0; i < K * K; ++i) covariance[i] = second[i] - mean[i / K] * mean[i % K];
    }
};

ss1_linear_desc tied_desc(size_t K, size_t N, uint32_t c) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = K;
    desc.N = N;
    desc.c = c;
    desc.block_k = 16;
    desc.block_n = 32;
    ss1::check(ss1_linear_resolve(&desc, nullptr));
    return desc;
}

// The dense weight of all parts.
floats expand(const ss1::fitted_layer &fit, const ss1_linear_desc *desc, size_t N, size_t K) {
    floats w(N * K);
    if (desc) ss1::check(ss1_expand(desc, fit.z.data(), 0, w.data(), 0));
    const size_t rank = fit.u.size() / N;
    for (size_t n = 0; n < N; ++n)
        for (size_t k = 0; k < K; ++k)
            for (size_t i = 0; i < rank; ++i) w[n * K + k] += fit.u[n * rank + i] * fit.v[i * K + k];
    return w;
}

double energy(const floats &w, const doubles &c, size_t N, size_t K) {
    double sum = 0;
    for (size_t n = 0; n < N; ++n)
        for (size_t i = 0; i < K; ++i)
            for (size_t j = 0; j < K; ++j) sum += static_cast<double>(w[n * K + i]) * c[i * K + j] * w[n * K + j];
    return sum;
}

floats difference(floats a, const floats &b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
    return a;
}

struct kind {
    uint32_t c;
    size_t rank;
};

struct shape {
    size_t K, N;
};

constexpr kind kinds[] = {{2, 0}, {4, 0}, {0, 5}, {4, 5}};
constexpr shape shapes[] = {{64, 48}, {64, 96}, {72, 40}};

}  // namespace

TEST_CASE("a weight that has the structure is fitted exactly") {
    ss1_test::seeded random;
    for (const auto &[K, N] : shapes)
        for (const auto &[c, rank] : kinds) {
            INFO("K=" << K << " N=" << N << " c=" << c << " rank=" << rank);
            ss1_linear_desc desc = tied_desc(K, N, c ? c : 2);
            ss1::fitted_layer truth;
            size_t kz = 0;
            ss1::check(ss1_linear_resolve(&desc, &kz));
            truth.z = c ? draw(random, N * kz) : floats();
            truth.u = draw(random, N * rank);
            truth.v = draw(random, rank * K);
            const floats w = expand(truth, c ? &desc : nullptr, N, K);
            const moments m(random, K, 4 * K);
            for (const bool calibrated : {false, true}) {
                ss1::fitted_layer fit;
                ss1::check(ss1::fit_layer({N, K, w.data(), K, calibrated ? m.second.data() : nullptr, nullptr},
                                          c ? &desc : nullptr, rank, fit));
                // The ridge of 1e-3 keeps the tied part from being exact; four alternations do not separate the parts.
                CHECK(fit.error < (c && rank ? 0.25 : c && calibrated ? 1e-3 : 1e-9));
            }
        }
}

TEST_CASE("the error is that of the outputs, and other values of the parts are worse") {
    ss1_test::seeded random;
    for (const shape &size : shapes)
        for (const kind &parts : kinds)
            for (const bool with_mean : {false, true}) {
                const size_t K = size.K, N = size.N, rank = parts.rank;
                const uint32_t c = parts.c;
                INFO("K=" << K << " N=" << N << " c=" << c << " rank=" << rank << " mean " << with_mean);
                const ss1_linear_desc desc = tied_desc(K, N, c ? c : 2);
                const floats w = draw(random, N * K);
                const moments m(random, K, 4 * K);
                const doubles &metric = with_mean ? m.covariance : m.second;
                ss1::fitted_layer fit;
                ss1::check(ss1::fit_layer({N, K, w.data(), K, m.second.data(), with_mean ? m.mean.data() : nullptr},
                                          c ? &desc : nullptr, rank, fit));
                const auto error_of = [&](const ss1::fitted_layer &f) {
                    return energy(difference(w, expand(f, c ? &desc : nullptr, N, K)), metric, N, K) /
                           energy(w, metric, N, K);
                };
                CHECK(fit.error == Approx(error_of(fit)).epsilon(1e-4));
                CHECK((fit.error > 0 && fit.error < 1));
                for (int i = 0; i < 20; ++i) {
                    ss1::fitted_layer other = fit;
                    for (floats *part : {&other.z, &other.u, &other.v})
                        for (float &v : *part) v += random.uniform() / 16;
                    CHECK(error_of(other) > fit.error);
                }
                CHECK(fit.bias.size() == (with_mean ? N : 0));
                const floats lost = difference(w, expand(fit, c ? &desc : nullptr, N, K));
                for (size_t n = 0; n < fit.bias.size(); ++n) {
                    double mean = 0;
                    for (size_t k = 0; k < K; ++k) mean += static_cast<double>(lost[n * K + k]) * m.mean[k];
                    CHECK(fit.bias[n] == Approx(mean).margin(1e-4));
                }
            }
}

TEST_CASE("both parts are better than each alone, and calibration than none") {
    ss1_test::seeded random;
    constexpr size_t K = 64, N = 96, rank = 8;
    const ss1_linear_desc desc = tied_desc(K, N, 4);
    const floats w = draw(random, N * K);
    const moments m(random, K, 4 * K);
    const auto fit = [&](const ss1_linear_desc *tied, size_t r, bool calibrated) {
        ss1::fitted_layer out;
        ss1::check(ss1::fit_layer({N, K, w.data(), K, calibrated ? m.second.data() : nullptr, nullptr}, tied, r, out));
        return out;
    };
    const double both = fit(&desc, rank, true).error;
    CHECK(both < fit(&desc, 0, true).error);
    CHECK(both < fit(nullptr, rank, true).error);
    const ss1::fitted_layer plain = fit(nullptr, rank, false);
    const double of_plain =
        energy(difference(w, expand(plain, nullptr, N, K)), m.second, N, K) / energy(w, m.second, N, K);
    CHECK(fit(nullptr, rank, true).error < of_plain);
}

TEST_CASE("the low-rank part is the same from either side of the weight") {
    ss1_test::seeded random;
    constexpr size_t K = 40, N = 64, wider = 80, rank = 6;
    const floats w = draw(random, N * K);
    const moments m(random, K, 4 * K);
    floats padded(N * wider);  // inputs without weight and energy: now N < K
    doubles second(wider * wider);
    for (size_t n = 0; n < N; ++n) std::copy_n(&w[n * K], K, &padded[n * wider]);
    for (size_t k = 0; k < K; ++k) std::copy_n(&m.second[k * K], K, &second[k * wider]);
    ss1::fitted_layer tall, wide;
    ss1::check(ss1::fit_layer({N, K, w.data(), K, m.second.data(), nullptr}, nullptr, rank, tall));
    ss1::check(ss1::fit_layer({N, wider, padded.data(), wider, second.data(), nullptr}, nullptr, rank, wide));
    CHECK(tall.error == Approx(wide.error).epsilon(1e-6));
    const floats a = expand(tall, nullptr, N, K), b = expand(wide, nullptr, N, wider);
    double worst = 0;
    for (size_t i = 0; i < N * K; ++i)
        ss1_test::keep_worse(worst, std::fabs(static_cast<double>(a[i]) - b[i / K * wider + i % K]));
    CHECK(worst < 1e-4);
}

TEST_CASE("moments that no inputs have are refused") {
    constexpr size_t K = 64, N = 32;
    const ss1_linear_desc desc = tied_desc(K, N, 2);
    const floats w(N * K, 0.5f);
    doubles second(K * K);
    for (size_t k = 0; k < K; ++k) second[k * K + k] = 1;
    ss1::fitted_layer fit;
    const auto refuses = [&](const char *text) {
        for (const size_t rank : {size_t{0}, size_t{4}}) {
            const ss1::dense_layer layer = {N, K, w.data(), K, second.data(), nullptr};
            CHECK(ss1::fit_layer(layer, rank ? nullptr : &desc, rank, fit) == SS1_ERROR_INVALID_ARGUMENT);
            CHECK_THAT(std::string(ss1_last_error()), Catch::Contains(text));
        }
    };
    second[5 * K + 5] = std::numeric_limits<double>::quiet_NaN();
    refuses("are not finite");
    second[5 * K + 5] = -1000;
    refuses("not positive semidefinite");
    second[5 * K + 5] = 0;  // an input that is always 0 is fine
    const ss1::dense_layer layer = {N, K, w.data(), K, second.data(), nullptr};
    CHECK(ss1::fit_layer(layer, &desc, 4, fit) == SS1_OK);
}

TEST_CASE("ss1_linear_fit gives the same parts, and a layer of them computes what the error says") {
    ss1_test::seeded random;
    constexpr size_t K = 64, N = 96, rank = 6, rows = 4 * K;
    const floats w = draw(random, N * K), x = draw(random, rows * K);
    floats second(K * K), mean(K);
    for (size_t r = 0; r < rows; ++r)
        for (size_t i = 0; i < K; ++i) {
            mean[i] += x[r * K + i] / rows;
            for (size_t j = 0; j < K; ++j) second[i * K + j] += x[r * K + i] * x[r * K + j] / rows;
        }
    const ss1::context_ptr context = ss1::make_context();
    for (const auto &[c, r] : {kind{4, 0}, kind{0, rank}, kind{4, rank}}) {
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = K;
        desc.N = N;
        desc.c = c;
        desc.rank = r;
        if (c) desc.block_k = 16;
        size_t kz = 0;
        ss1_linear_desc resolved = desc;
        ss1::check(ss1_linear_resolve(&resolved, &kz));
        floats z(N * kz), u(N * r), v(r * K), bias(N), y(rows * N), want(rows * N);
        double error = -1;
        ss1_fit_args args = SS1_FIT_ARGS_INIT;
        args.weight = w.data();
        args.second_moment = second.data();
        args.mean = mean.data();
        args.z = kz ? z.data() : nullptr;
        args.u = r ? u.data() : nullptr;
        args.v = r ? v.data() : nullptr;
        args.bias = bias.data();
        args.error = &error;
        ss1::check(ss1_linear_fit(&desc, &args));

        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT, dense = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = args.z;
        weights.u = args.u;
        weights.v = args.v;
        weights.bias = bias.data();
        dense.z = w.data();
        ss1_linear_desc plain = SS1_LINEAR_DESC_INIT;
        plain.K = K;
        plain.N = N;
        ss1_linear_args run = SS1_LINEAR_ARGS_INIT;
        run.m = rows;
        run.x = x.data();
        run.y = y.data();
        ss1::check(ss1_layer_run(ss1::make_layer(context, desc, weights).get(), &run));
        run.y = want.data();
        ss1::check(ss1_layer_run(ss1::make_layer(context, plain, dense).get(), &run));
        doubles mean_y(N);
        for (size_t i = 0; i < rows * N; ++i) mean_y[i % N] += want[i] / static_cast<double>(rows);
        double lost = 0, all = 0;
        for (size_t i = 0; i < rows * N; ++i) {
            lost += std::pow(y[i] - static_cast<double>(want[i]), 2);
            all += std::pow(want[i] - mean_y[i % N], 2);
        }
        CHECK(error == Approx(lost / all).epsilon(1e-3));
        CHECK((error > 0 && error < 0.95));

        for (const float **part : {&args.mean, &args.second_moment}) {
            const float *kept = *part;
            *part = nullptr;
            CHECK(ss1_linear_fit(&desc, &args) == SS1_ERROR_INVALID_ARGUMENT);
            *part = kept;
        }
        args.ldz = 1;
        if (kz) CHECK(ss1_linear_fit(&desc, &args) == SS1_ERROR_INVALID_ARGUMENT);
        args.ldz = 0;
        args.u = r ? nullptr : bias.data();
        CHECK(ss1_linear_fit(&desc, &args) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(std::string(ss1_last_error()), Catch::Contains("args.u is "));
    }
    CHECK(ss1_linear_fit(nullptr, nullptr) == SS1_ERROR_INVALID_ARGUMENT);
}
