// SPDX-License-Identifier: Apache-2.0
// Tests the CUDA backend through the C API: layers of every type against the CPU backend's f32 layer of the same
// rounded weights, in double, with host and device memory.
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
#include <thread>
#include <vector>

#include "cuda_support.hpp"
#include "half.hpp"
#include "layer_support.hpp"
#include "ss1/ss1.hpp"

using cuda_support::cuda_context;

namespace {

struct memory {
    explicit memory(size_t n_bytes) : bytes(n_bytes) { REQUIRE(cudaMalloc(&data, bytes) == cudaSuccess); }
    memory(const memory &) = delete;
    memory &operator=(const memory &) = delete;
    ~memory() { cudaFree(data); }
    char *at(size_t offset) const { return static_cast<char *>(data) + offset; }
    void *data = nullptr;
    size_t bytes;
};

size_t size_of(ss1_dtype type) {
    return type == SS1_DTYPE_F32 ? 4 : 2;
}

float read(const void *values, size_t i, ss1_dtype type) {
    if (type == SS1_DTYPE_F32) return static_cast<const float *>(values)[i];
    const uint16_t half = static_cast<const uint16_t *>(values)[i];
    return type == SS1_DTYPE_BF16 ? ss1::bf16_to_f32(half) : ss1::f16_to_f32(half);
}

void write(void *values, size_t i, ss1_dtype type, float v) {
    if (type == SS1_DTYPE_F32)
        static_cast<float *>(values)[i] = v;
    else
        static_cast<uint16_t *>(values)[i] = type == SS1_DTYPE_BF16 ? ss1::bf16_from_f32(v) : ss1::f16_from_f32(v);
}

// One layer with random weights, and one run's inputs.
struct problem {
    ss1_linear_desc desc;
    size_t kz = 0, m, ldx, ldy, ldr;
    bool bias, residual;
    std::vector<float> z, b, u, v, dense;
    std::vector<char> x, y, r;

    problem(const ss1_linear_desc &given, size_t rows, bool has_bias, bool has_residual, size_t surplus,
            std::mt19937 &random)
        : desc(given), m(rows), bias(has_bias), residual(has_residual) {
        ss1::check(ss1_linear_resolve(&desc, &kz));
        ldx = desc.K + surplus, ldy = desc.N + 2 * surplus, ldr = desc.N + surplus;
        std::uniform_real_distribution<float> uniform(-1, 1);
        auto draw = [&](std::vector<float> &values, size_t n) {
            values.resize(n);
            for (float &value : values) value = uniform(random);
        };
        draw(z, desc.N * kz);
        draw(b, desc.N);
        draw(u, desc.N * desc.rank);
        draw(v, desc.rank * desc.K);
        dense.resize(desc.N * desc.K);
        const ss1_linear_weights stored = weights();
        ss1::check(ss1_linear_expand(&desc, &stored, dense.data(), 0));
        x.resize(m * ldx * size_of(desc.x_dtype));
        for (size_t i = 0; i < m * ldx; ++i) write(x.data(), i, desc.x_dtype, uniform(random));
        y.assign(m * ldy * size_of(desc.y_dtype), 0x55);
        r.resize(m * ldr * size_of(desc.y_dtype));
        for (size_t i = 0; i < m * ldr; ++i) write(r.data(), i, desc.y_dtype, uniform(random));
    }

    ss1_linear_weights weights() const {
        ss1_linear_weights given = SS1_LINEAR_WEIGHTS_INIT;
        given.z = kz ? z.data() : nullptr;
        given.bias = bias ? b.data() : nullptr;
        given.u = desc.rank ? u.data() : nullptr;
        given.v = desc.rank ? v.data() : nullptr;
        return given;
    }

    ss1::layer_ptr layer(const ss1::context_ptr &context) const { return ss1::make_layer(context, desc, weights()); }

    ss1_linear_args args(const void *from, void *to, const void *add) const {
        ss1_linear_args a = SS1_LINEAR_ARGS_INIT;
        a.m = m;
        a.x = from;
        a.ldx = ldx;
        a.y = to;
        a.ldy = ldy;
        a.residual = residual ? add : nullptr;
        a.ldr = ldr;
        return a;
    }

    // The largest error of y, in units of what the types allow.
    double worst() const {
        const bool bf16 = desc.weight_dtype == SS1_DTYPE_BF16, i8 = desc.weight_dtype == SS1_DTYPE_I8;
        // Rounding of a weight and of a value of the sketch; of a sum; of y.
        const double operand = bf16 ? 0x1p-8 : 0,
                     sum_eps = 0x1p-23 * static_cast<double>(kz + desc.c + 8 + (desc.rank ? desc.rank + desc.K : 0));
        const double y_eps = desc.y_dtype == SS1_DTYPE_BF16 ? 0x1p-8 : 0x1p-23;
        double worst = 0;
        for (size_t i = 0; i < m; ++i) {
            double squares = 0, largest = 0;
            std::vector<double> down(desc.rank);  // |V| |x|
            for (size_t k = 0; k < desc.K; ++k) {
                const double value = std::abs(read(x.data(), i * ldx + k, desc.x_dtype));
                squares += value * value;
                largest = std::max(largest, value);
                for (size_t j = 0; j < desc.rank; ++j) down[j] += std::abs(v[j * desc.K + k]) * value;
            }
            for (size_t n = 0; n < desc.N; ++n) {
                double sum = bias ? b[n] : 0, magnitude = std::abs(sum), weight = 0;
                for (size_t j = 0; j < desc.rank; ++j) magnitude += std::abs(u[n * desc.rank + j]) * down[j];
                for (size_t k = 0; k < desc.K; ++k) {
                    const double w = dense[n * desc.K + k];
                    const double product = read(x.data(), i * ldx + k, desc.x_dtype) * w;
                    sum += product;
                    magnitude += std::abs(product);
                    weight = std::max(weight, std::abs(w));
                }
                double bound = magnitude * (sum_eps + 2 * operand) + std::abs(b[n]) * y_eps;
                // Independent roundings of half a step each: 8 standard deviations, of weights and of the sketch.
                if (i8)
                    bound += 8 * (weight / 127 * std::sqrt(squares) +
                                  desc.c * largest / 127 * std::sqrt(static_cast<double>(kz)) * weight);
                const double add = residual ? read(r.data(), i * ldr + n, desc.y_dtype) : 0;
                const double right = ss1_test::activate(desc.activation, sum) + add;
                bound = 1.2 * bound + (std::abs(right) + std::abs(add)) * y_eps + 1e-6;
                const double error = std::abs(read(y.data(), i * ldy + n, desc.y_dtype) - right) / bound;
                ss1_test::keep_worse(worst, error);
            }
        }
        return worst;
    }
};

// The bytes that a run on device memory gives. `shift`: bytes that all matrices lie behind a multiple of 256.
std::vector<char> run_on_device(const problem &p, const ss1::layer_ptr &layer, size_t shift) {
    const memory x(p.x.size() + shift), y(p.y.size() + shift), r(p.r.size() + shift);
    std::vector<char> back(p.y.size(), 0x55);
    REQUIRE(cudaMemcpy(x.at(shift), p.x.data(), p.x.size(), cudaMemcpyHostToDevice) == cudaSuccess);
    REQUIRE(cudaMemcpy(r.at(shift), p.r.data(), p.r.size(), cudaMemcpyHostToDevice) == cudaSuccess);
    REQUIRE(cudaMemcpy(y.at(shift), back.data(), back.size(), cudaMemcpyHostToDevice) == cudaSuccess);
    const ss1_linear_args args = p.args(x.at(shift), y.at(shift), r.at(shift));
    ss1::check(ss1_layer_run(layer.get(), &args));
    REQUIRE(cudaMemcpy(back.data(), y.at(shift), back.size(), cudaMemcpyDeviceToHost) == cudaSuccess);
    return back;
}

template <class T, size_t N>
T one_of(const T (&values)[N], std::mt19937 &random) {
    return values[random() % N];
}

ss1_linear_desc random_desc(std::mt19937 &random) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.c = one_of({1u, 1u, 2u, 3u, 4u, 8u}, random);
    desc.scheme = one_of({SS1_SCHEME_REFERENCE, SS1_SCHEME_MIXED}, random);
    desc.block_k = one_of({16u, 32u, 64u, 128u}, random);
    if (desc.scheme == SS1_SCHEME_MIXED) desc.step = one_of({0u, 1u, 4u, 8u, 16u}, random);
    desc.block_n = one_of({0u, 64u, 112u, 256u}, random);
    desc.seed = static_cast<uint32_t>(random());
    desc.K = desc.c * desc.block_k * (1 + random() % 2) + random() % 3 * (random() % 50);
    desc.N = one_of({size_t{1}, size_t{13}, size_t{64}, size_t{160}, size_t{300}, size_t{640}}, random);
    desc.weight_dtype = one_of({SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8}, random);
    if (desc.weight_dtype != SS1_DTYPE_I8 && random() % 2) {
        desc.rank = std::min({desc.K, desc.N, one_of({size_t{1}, size_t{9}, size_t{16}, size_t{40}}, random)});
        if (random() % 3 == 0) desc.c = 0;
    }
    desc.activation = static_cast<ss1_activation>(random() % 7);
    desc.x_dtype = one_of({SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_F16}, random);
    desc.y_dtype = one_of({SS1_DTYPE_F32, SS1_DTYPE_BF16}, random);
    return desc;
}

std::string words(const problem &p) {
    const ss1_linear_desc &d = p.desc;
    char text[256];
    std::snprintf(
        text, sizeof text,
        "m %zu K %zu N %zu c %u rank %zu scheme %d block_k %u block_n %u step %u activation %d types %d %d %d bias %d "
        "residual %d ldx %zu",
        p.m, d.K, d.N, d.c, d.rank, d.scheme, d.block_k, d.block_n, d.step, d.activation, d.x_dtype, d.weight_dtype,
        d.y_dtype, p.bias, p.residual, p.ldx);
    return text;
}

}  // namespace

TEST_CASE("sizes that cuBLAS cannot count are refused") {
    const auto context = cuda_context();
    if (!context) return;
    std::mt19937 random(1);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 64;
    desc.N = 16;
    const problem p(desc, 2, false, false, 0, random);
    const auto layer = p.layer(context);
    const memory one(512), other(512);  // y before x, because the span of x counts as 16 GiB
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = 2;
    args.x = std::max(one.data, other.data);
    args.ldx = (size_t{1} << 32) + 64;  // 64 as an int
    args.y = std::min(one.data, other.data);
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_ERROR_UNSUPPORTED);
    CHECK(std::string(ss1_last_error()).find("ldx=4294967360") != std::string::npos);
}

TEST_CASE("random layers on the device equal the expanded weights") {
    const auto context = cuda_context();
    if (!context) return;
    std::mt19937 random(5);
    const char *wanted = std::getenv("SS1_TEST_CUDA_LAYERS");
    const int count = wanted ? std::atoi(wanted) : 300;
    double worst = 0;
    for (int i = 0; i < count; ++i) {
        const ss1_linear_desc desc = random_desc(random);
        const bool residual = desc.activation != SS1_ACTIVATION_RELU && random() % 3 == 0;
        problem p(desc, one_of({size_t{1}, size_t{7}, size_t{33}, size_t{150}}, random), random() % 2, residual,
                  random() % 3 * 8 + random() % 2 * (random() % 7), random);
        INFO(words(p));
        const auto layer = p.layer(context);
        const ss1_linear_args args = p.args(p.x.data(), p.y.data(), p.r.data());
        ss1::check(ss1_layer_run(layer.get(), &args));
        const double error = p.worst();
        ss1_test::keep_worse(worst, error);
        REQUIRE(error <= 1);
        // The same bits from device memory, wherever it lies; columns behind N are kept.
        for (const size_t shift :
             {size_t{0}, size_of(p.desc.x_dtype) == 4 || size_of(p.desc.y_dtype) == 4 ? size_t{4} : size_t{2}})
            REQUIRE(run_on_device(p, layer, shift) == p.y);
    }
    std::printf("%d layers, largest error %.2f of the bound\n", count, worst);
}

TEST_CASE("the bits of a row depend on the row alone") {
    const auto context = cuda_context();
    if (!context) return;
    std::mt19937 random(6);
    for (const ss1_dtype type : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8})
        for (const auto &[c, rank] : {std::pair{1u, 0u}, {4u, 0u}, {0u, 96u}, {1u, 48u}, {4u, 48u}}) {
            if (rank && type == SS1_DTYPE_I8) continue;
            ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
            desc.K = 768;
            desc.N = 768;
            desc.c = c;
            desc.rank = rank;
            desc.weight_dtype = type;
            desc.x_dtype = desc.y_dtype = SS1_DTYPE_BF16;
            const problem p(desc, 33000, true, false, 0, random);  // a block has 32,768 rows
            const auto layer = p.layer(context);
            const auto all = run_on_device(p, layer, 0);
            const size_t row = desc.N * 2;
            for (const size_t rows : {1, 3, 17, 100, 5000})
                for (const size_t first : {size_t{0}, size_t{27990}}) {  // 5,000 rows from there on cross the border
                    problem few = p;
                    few.m = rows;
                    few.x.assign(p.x.begin() + static_cast<ptrdiff_t>(first * desc.K * 2),
                                 p.x.begin() + static_cast<ptrdiff_t>((first + rows) * desc.K * 2));
                    few.y.resize(rows * row);
                    INFO("type " << type << " c " << c << " rank " << rank << " rows " << rows << " from " << first);
                    CHECK(std::memcmp(run_on_device(few, layer, 0).data(), all.data() + first * row, rows * row) == 0);
                }
        }
}

TEST_CASE("rows with NaN and infinity give NaN in int8, and other rows are untouched") {
    const auto context = cuda_context();
    if (!context) return;
    std::mt19937 random(7);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 64;
    desc.c = 2;
    desc.weight_dtype = SS1_DTYPE_I8;
    problem p(desc, 4, true, false, 0, random);
    const auto layer = p.layer(context);
    write(p.x.data(), 1 * 256 + 200, SS1_DTYPE_F32, std::nanf(""));
    write(p.x.data(), 2 * 256 + 7, SS1_DTYPE_F32, INFINITY);
    const ss1_linear_args args = p.args(p.x.data(), p.y.data(), nullptr);
    ss1::check(ss1_layer_run(layer.get(), &args));
    for (size_t n = 0; n < 64; ++n) {
        CHECK(std::isfinite(read(p.y.data(), n, SS1_DTYPE_F32)));
        CHECK(std::isnan(read(p.y.data(), 64 + n, SS1_DTYPE_F32)));
        CHECK(std::isnan(read(p.y.data(), 2 * 64 + n, SS1_DTYPE_F32)));
        CHECK(std::isfinite(read(p.y.data(), 3 * 64 + n, SS1_DTYPE_F32)));
    }
}

TEST_CASE("threads run one layer at once, and the thread's device stays") {
    const auto context = cuda_context();
    if (!context) return;
    std::mt19937 random(8);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 512;
    desc.N = 256;
    desc.c = 4;
    desc.activation = SS1_ACTIVATION_GELU;
    desc.weight_dtype = SS1_DTYPE_BF16;
    const problem p(desc, 65, true, false, 0, random);
    const auto layer = p.layer(context);
    const auto expected = run_on_device(p, layer, 0);
    std::vector<std::vector<char>> results(8, p.y);
    std::vector<std::thread> threads;
    for (auto &y : results)
        threads.emplace_back([&] {
            for (int i = 0; i < 50; ++i) {
                const ss1_linear_args args = p.args(p.x.data(), y.data(), nullptr);
                if (ss1_layer_run(layer.get(), &args) != SS1_OK) std::abort();
            }
        });
    for (auto &thread : threads) thread.join();
    for (const auto &y : results) CHECK(y == expected);
    int device = -1;
    CHECK(cudaGetDevice(&device) == cudaSuccess);
    CHECK(device == 0);
}

int main(int argc, char **argv) {
    return cuda_support::run_or_skip(argc, argv);
}
