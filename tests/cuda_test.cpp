// SPDX-License-Identifier: Apache-2.0
// Tests the CUDA backend through the C API: layers against X . ss1_expand(Z) + b in double, with host and device
// memory. Without a device it checks the message of the failed load and is skipped, or fails if SS1_TEST_REQUIRE_CUDA
// is set.
#include <cuda_runtime.h>

#define CATCH_CONFIG_RUNNER
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ss1/ss1.hpp"

namespace {

bool no_device = false;

// A context with the backend, or NULL without a device.
ss1::context_ptr cuda_context() {
    auto context = ss1::make_context();
    if (ss1_context_load_backend(context.get(), "cuda") == SS1_OK) return context;
    CHECK(std::string(ss1_last_error()).find("backend cuda: not usable on this machine") != std::string::npos);
    if (std::getenv("SS1_TEST_REQUIRE_CUDA")) FAIL("SS1_TEST_REQUIRE_CUDA is set: " << ss1_last_error());
    no_device = true;
    return nullptr;
}

struct memory {
    explicit memory(size_t floats) { REQUIRE(cudaMalloc(&data, floats * sizeof(float)) == cudaSuccess); }
    memory(const memory &) = delete;
    memory &operator=(const memory &) = delete;
    ~memory() { cudaFree(data); }
    float *data = nullptr;
};

}  // namespace

TEST_CASE("sizes that cuBLAS cannot count are refused") {
    const auto context = cuda_context();
    if (!context) return;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 64;
    desc.N = 16;
    const std::vector<float> z(16 * 64);
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    const auto layer = ss1::make_layer(context, desc, weights);
    const memory one(64 + 64), other(64 + 64);  // y before x, because the span of x counts as 16 GiB
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = 2;
    args.x = std::max(one.data, other.data);
    args.ldx = (size_t{1} << 32) + 64;  // 64 as an int
    args.y = std::min(one.data, other.data);
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_ERROR_UNSUPPORTED);
    CHECK(std::string(ss1_last_error()).find("ldx=4294967360") != std::string::npos);
}

TEST_CASE("layers on the device equal the expanded weights") {
    const auto context = cuda_context();
    if (!context) return;
    std::mt19937 random(5);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (const ss1_scheme scheme : {SS1_SCHEME_REFERENCE, SS1_SCHEME_MIXED})
        for (const uint32_t c : {1u, 2u, 4u, 8u})
            for (const size_t m : {1, 33, 300}) {
                ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                desc.K = c == 1 ? 301 : c * 64 * 2 + 37;
                desc.N = 620;
                desc.c = c;
                desc.scheme = scheme;
                desc.activation = m == 33 ? SS1_ACTIVATION_GELU : SS1_ACTIVATION_NONE;
                size_t kz = 0;
                ss1::check(ss1_linear_resolve(&desc, &kz));
                std::vector<float> z(desc.N * kz), bias(desc.N), dense(desc.N * desc.K), x(m * desc.K), y(m * desc.N);
                for (auto *values : {&z, &bias, &x})
                    for (float &v : *values) v = uniform(random);
                ss1::check(ss1_expand(&desc, z.data(), 0, dense.data(), 0));
                ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
                weights.z = z.data();
                weights.bias = bias.data();
                const auto layer = ss1::make_layer(context, desc, weights);
                ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
                args.m = m;
                args.x = x.data();
                args.y = y.data();
                ss1::check(ss1_layer_run(layer.get(), &args));

                memory x_device(x.size()), y_device(y.size());
                std::vector<float> back(y.size());
                REQUIRE(cudaMemcpy(x_device.data, x.data(), x.size() * sizeof(float), cudaMemcpyHostToDevice) ==
                        cudaSuccess);
                args.x = x_device.data;
                args.y = y_device.data;
                ss1::check(ss1_layer_run(layer.get(), &args));
                REQUIRE(cudaMemcpy(back.data(), y_device.data, y.size() * sizeof(float), cudaMemcpyDeviceToHost) ==
                        cudaSuccess);
                CHECK(std::memcmp(back.data(), y.data(), y.size() * sizeof(float)) == 0);

                double worst = 0;  // in units of eps * (sum |x||w| + |b|)
                for (size_t i = 0; i < m; ++i)
                    for (size_t n = 0; n < desc.N; ++n) {
                        double sum = bias[n], magnitude = std::abs(sum);
                        for (size_t k = 0; k < desc.K; ++k) {
                            const double product = static_cast<double>(x[i * desc.K + k]) * dense[n * desc.K + k];
                            sum += product;
                            magnitude += std::abs(product);
                        }
                        if (desc.activation == SS1_ACTIVATION_GELU) sum *= 0.5 * (1 + std::erf(sum / std::sqrt(2.0)));
                        worst = std::max(worst, std::abs(y[i * desc.N + n] - sum) / (1.2e-7 * magnitude));
                    }
                INFO("scheme " << scheme << " c " << c << " m " << m);
                CHECK(worst <= static_cast<double>(kz + c + 8));
            }
}

int main(int argc, char **argv) {
    const int failed = Catch::Session().run(argc, argv);
    if (failed || !no_device) return failed;
    std::puts("skipped: no CUDA device");
    return 77;  // meson's code for a skipped test
}
