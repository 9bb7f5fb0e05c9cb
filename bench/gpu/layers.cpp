// SPDX-License-Identifier: Apache-2.0
// Times linear layers on the GPU: tied ones beside the dense one of the same types, which is the fastest product that
// cuBLASLt offers with a bias. Inputs and outputs are on the device and rotate over more memory than the L2 cache has.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ss1/ss1.hpp"

namespace {

constexpr size_t rotated_bytes = size_t{256} << 20;
constexpr int rounds = 15;

struct shape {
    size_t m, K, N;
};

void check(cudaError_t error) {
    if (error == cudaSuccess) return;
    std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
    std::exit(1);
}

using memory = std::unique_ptr<char, void (*)(char *)>;

memory device_memory(size_t bytes) {
    void *data = nullptr;
    check(cudaMalloc(&data, bytes));
    return {static_cast<char *>(data), [](char *p) { cudaFree(p); }};
}

// Buffers of one operand, used in turn.
class rotation {
  public:
    rotation(size_t bytes, uint16_t seed) : bytes_((bytes + 255) / 256 * 256) {
        count_ = std::max<size_t>(2, rotated_bytes / bytes_ + 1);
        data_ = device_memory(count_ * bytes_).release();
        std::mt19937 random(seed);  // bf16 values of [-1, 1): random data takes the power that real data takes
        std::vector<uint16_t> values(bytes_ / 2);
        for (auto &v : values) v = static_cast<uint16_t>(random() % 2 << 15 | (0x3e00 + random() % 0x180));
        for (size_t i = 0; i < count_; ++i)
            check(cudaMemcpy(data_ + i * bytes_, values.data(), bytes_, cudaMemcpyHostToDevice));
    }
    rotation(const rotation &) = delete;
    rotation &operator=(const rotation &) = delete;
    ~rotation() { cudaFree(data_); }
    char *next() { return data_ + ++turn_ % count_ * bytes_; }

  private:
    size_t bytes_, count_ = 0, turn_ = 0;
    char *data_ = nullptr;
};

struct contender {
    std::string name;
    ss1::layer_ptr layer;
    std::vector<float> ms;
};

float time_of(const contender &who, const shape &s, rotation &x, rotation &y) {
    static cudaEvent_t begin = nullptr, end = nullptr;
    if (!begin) check(cudaEventCreate(&begin)), check(cudaEventCreate(&end));
    const int runs = static_cast<int>(std::clamp(4e12 / (2.0 * static_cast<double>(s.m * s.K * s.N)), 4.0, 50.0));
    check(cudaEventRecord(begin));
    for (int i = 0; i < runs; ++i) {
        ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
        args.m = s.m;
        args.x = x.next();
        args.y = y.next();
        ss1::check(ss1_layer_run(who.layer.get(), &args));
    }
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end));
    return ms / static_cast<float>(runs);
}

double quantile(std::vector<float> values, double q) {
    std::sort(values.begin(), values.end());
    return static_cast<double>(values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))]);
}

contender make(const ss1::context_ptr &context, const shape &s, uint32_t c, ss1_scheme scheme, ss1_dtype weights) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = s.K;
    desc.N = s.N;
    desc.c = c;
    desc.scheme = scheme;
    desc.x_dtype = desc.y_dtype = SS1_DTYPE_BF16;
    desc.weight_dtype = weights;
    size_t kz = 0;
    ss1::check(ss1_linear_resolve(&desc, &kz));
    std::vector<float> z(s.N * kz), bias(s.N);
    std::minstd_rand random(3);
    for (auto *values : {&z, &bias})
        for (float &v : *values) v = static_cast<float>(random() % 4096) / 2048.0f - 1;
    ss1_linear_weights w = SS1_LINEAR_WEIGHTS_INIT;
    w.z = z.data();
    w.bias = bias.data();
    const std::string name =
        c == 1 ? "dense" : std::string(scheme == SS1_SCHEME_MIXED ? "mixed" : "reference") + " c=" + std::to_string(c);
    return {name, ss1::make_layer(context, desc, w), {}};
}

void measure(const ss1::context_ptr &context, const shape &s, ss1_dtype weights, const char *type) {
    std::vector<contender> contenders;
    contenders.push_back(make(context, s, 1, SS1_SCHEME_MIXED, weights));
    for (const ss1_scheme scheme : {SS1_SCHEME_REFERENCE, SS1_SCHEME_MIXED})
        for (const uint32_t c : {2u, 4u, 8u}) contenders.push_back(make(context, s, c, scheme, weights));
    rotation x(s.m * s.K * 2, 1), y(s.m * s.N * 2, 2);
    for (const auto &who : contenders) time_of(who, s, x, y);
    for (int round = 0; round < rounds; ++round)
        for (auto &who : contenders) who.ms.push_back(time_of(who, s, x, y));
    const double dense = quantile(contenders[0].ms, 0.5);
    for (const auto &who : contenders)
        std::printf("| %zu | %zu | %zu | %s | %s | %.4f | %.4f-%.4f | %.2f |\n", s.m, s.K, s.N, type, who.name.c_str(),
                    quantile(who.ms, 0.5), quantile(who.ms, 0.25), quantile(who.ms, 0.75),
                    dense / quantile(who.ms, 0.5));
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc > 1 && (!std::strcmp(argv[1], "--help") || argc % 3 != 1)) {
        std::puts(
            "usage: gpu_layers [M K N]...\n"
            "Times linear layers on the GPU, dense and tied, in bf16 and int8, and prints a table.\n"
            "example: SS1_BACKEND_PATH=build/cuda/cuda build/cuda/bench/gpu_layers 32768 768 3072");
        return std::strcmp(argv[1], "--help") != 0;
    }
    std::vector<shape> shapes;
    for (int i = 1; i + 2 < argc; i += 3)
        shapes.push_back({std::strtoull(argv[i], nullptr, 10), std::strtoull(argv[i + 1], nullptr, 10),
                          std::strtoull(argv[i + 2], nullptr, 10)});
    if (shapes.empty())
        shapes = {{8192, 4096, 14336}, {32768, 768, 3072}, {32768, 3072, 768}, {32768, 768, 768},
                  {4096, 1024, 4096},  {4096, 4096, 1024}, {256, 768, 3072},   {16, 4096, 4096}};
    try {
        const auto context = ss1::make_context();
        ss1::check(ss1_context_load_backend(context.get(), "cuda"));
        cudaDeviceProp properties{};
        check(cudaGetDeviceProperties(&properties, 0));
        std::printf(
            "%s, %d rounds; ms of a run: median, quartiles; times faster than dense\n\n"
            "| M | K | N | weights | layer | ms | quartiles | speed |\n|---|---|---|---|---|---|---|---|\n",
            properties.name, rounds);
        for (const shape &s : shapes) {
            measure(context, s, SS1_DTYPE_BF16, "bf16");
            measure(context, s, SS1_DTYPE_I8, "int8");
        }
    } catch (const std::exception &e) {
        std::fprintf(stderr, "gpu_layers: %s\n", e.what());
        return 1;
    }
}
