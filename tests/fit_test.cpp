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
                CHECK(fit.error < (c && rank ? 0.1 : c ? 1e-5 : 1e-9));
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
        worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i / K * wider + i % K]));
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
