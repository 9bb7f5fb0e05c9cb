// SPDX-License-Identifier: Apache-2.0
// Checks the golden vectors of the mapping: for each case the stored column and the sign of every W[k, n].
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "check.hpp"
#include "ss1/ss1.h"

namespace {

nlohmann::json golden() {
    std::ifstream file(SS1_TEST_DATA "/mapping.json");
    REQUIRE(file);
    return nlohmann::json::parse(file);
}

ss1_linear_desc desc_of(const nlohmann::json &c) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.scheme = c["scheme"] == "mixed" ? SS1_SCHEME_MIXED : SS1_SCHEME_REFERENCE;
    desc.seed = c["seed"];
    desc.K = c["K"];
    desc.N = c["N"];
    desc.c = c["c"];
    desc.block_k = c["B_K"];
    desc.block_n = c["B_N"];
    desc.step = c["V"];
    return desc;
}

}  // namespace

TEST_CASE("every golden case of the mapping") {
    for (const auto &c : golden()) {
        ss1_linear_desc desc = desc_of(c);
        INFO(c["scheme"] << " seed " << c["seed"] << " K " << desc.K << " N " << desc.N << " c " << desc.c);
        size_t kz = 0;
        REQUIRE(ss1_linear_resolve(&desc, &kz) == SS1_OK);
        std::vector<float> z(desc.N * kz), weight(desc.N * desc.K);
        // Each stored value is its column number + 1 with its row as the fraction, so that every wrong place is
        // visible.
        for (size_t n = 0; n < desc.N; ++n)
            for (size_t k = 0; k < kz; ++k) z[n * kz + k] = static_cast<float>(k + 1) + static_cast<float>(n) / 1024.0f;
        REQUIRE(ss1_expand(&desc, z.data(), 0, weight.data(), 0) == SS1_OK);
        size_t wrong = 0;
        for (size_t k = 0; k < desc.K; ++k)
            for (size_t n = 0; n < desc.N; ++n) {
                const int column = c["column"][k][n], sign = c["sign"][k][n];
                const float expected =
                    column < 0 ? 0.0f : static_cast<float>(sign) * z[n * kz + static_cast<size_t>(column)];
                wrong += weight[n * desc.K + k] != expected;
            }
        CHECK(wrong == 0);
    }
}

TEST_CASE("project undoes expand") {
    for (const auto &c : golden()) {
        ss1_linear_desc desc = desc_of(c);
        size_t kz = 0;
        REQUIRE(ss1_linear_resolve(&desc, &kz) == SS1_OK);
        std::mt19937 random(7);
        std::normal_distribution<float> normal;
        std::vector<float> z(desc.N * kz), weight(desc.N * desc.K), back(desc.N * kz), again(desc.N * desc.K);
        for (float &v : z) v = normal(random);
        REQUIRE(ss1_expand(&desc, z.data(), 0, weight.data(), 0) == SS1_OK);
        REQUIRE(ss1_project(&desc, weight.data(), 0, nullptr, back.data(), 0) == SS1_OK);
        REQUIRE(ss1_expand(&desc, back.data(), 0, again.data(), 0) == SS1_OK);
        double worst = 0;
        for (size_t i = 0; i < weight.size(); ++i)
            ss1_test::keep_worse(worst, static_cast<double>(std::abs(weight[i] - again[i])));
        CHECK(worst <= 1e-6);
    }
}

TEST_CASE("a second moment makes the projection fit the layer's output") {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 128;
    desc.N = 96;
    desc.c = 2;
    desc.block_k = 16;
    desc.block_n = 32;
    size_t kz = 0;
    REQUIRE(ss1_linear_resolve(&desc, &kz) == SS1_OK);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    const size_t rows = 512;
    std::vector<float> x(rows * desc.K), weight(desc.N * desc.K), moment(desc.K * desc.K, 0.0f);
    for (float &v : weight) v = normal(random);
    for (size_t i = 0; i < rows; ++i)  // inputs of very different sizes, which the plain mean ignores
        for (size_t k = 0; k < desc.K; ++k) x[i * desc.K + k] = normal(random) * (k % 7 == 0 ? 10.0f : 0.3f);
    for (size_t i = 0; i < rows; ++i)
        for (size_t a = 0; a < desc.K; ++a)
            for (size_t b = 0; b < desc.K; ++b) moment[a * desc.K + b] += x[i * desc.K + a] * x[i * desc.K + b] / rows;

    const auto output_error = [&](const float *second_moment) {
        std::vector<float> z(desc.N * kz), tied(desc.N * desc.K);
        REQUIRE(ss1_project(&desc, weight.data(), 0, second_moment, z.data(), 0) == SS1_OK);
        REQUIRE(ss1_expand(&desc, z.data(), 0, tied.data(), 0) == SS1_OK);
        double error = 0;
        for (size_t i = 0; i < rows; ++i)
            for (size_t n = 0; n < desc.N; ++n) {
                double difference = 0;
                for (size_t k = 0; k < desc.K; ++k)
                    difference +=
                        static_cast<double>(x[i * desc.K + k]) * (weight[n * desc.K + k] - tied[n * desc.K + k]);
                error += difference * difference;
            }
        return error;
    };
    CHECK(output_error(moment.data()) < 0.5 * output_error(nullptr));
}
