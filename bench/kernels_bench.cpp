// SPDX-License-Identifier: Apache-2.0
// Every gemm and sketch kernel that this CPU has, on the shapes of the models, single threaded and warm.
// One benchmark per row and shape: --benchmark_filter=gemm_f32_14x32_avx512/252
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu.hpp"
#include "kernels.hpp"

using namespace ss1;

namespace {

struct free_memory {
    void operator()(float *p) const { std::free(p); }
};
using floats = std::unique_ptr<float[], free_memory>;

floats random_floats(size_t count) {
    floats values(static_cast<float *>(std::aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64)));
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::generate_n(values.get(), count, [&] { return uniform(random); });
    return values;
}

benchmark::Counter rate(double per_iteration) {
    return {per_iteration * 1e-9, benchmark::Counter::kIsIterationInvariantRate};
}

void run_gemm(benchmark::State &state, const gemm_kernel &kernel, size_t m, size_t n, size_t k) {
    const size_t tiles = (n + kernel.nt - 1) / kernel.nt;
    const floats a = random_floats(m * k), b = random_floats(tiles * k * kernel.nt), c = random_floats(m * n);
    for (auto _ : state) {
        for (size_t i = 0; i < m; i += kernel.mr)
            kernel.run({.a = a.get() + i * k,
                        .b = b.get(),
                        .bias = nullptr,
                        .c = c.get() + i * n,
                        .m = std::min<size_t>(kernel.mr, m - i),
                        .n = n,
                        .k = k,
                        .lda = k,
                        .ldb = k * kernel.nt,
                        .ldc = n,
                        .accumulate = false,
                        .relu = false});
        benchmark::ClobberMemory();
    }
    state.counters["GFLOP/s"] = rate(2.0 * static_cast<double>(m * n * k));
    state.counters["weights_GB/s"] = rate(4.0 * static_cast<double>(n * k));
}

void run_sketch(benchmark::State &state, const sketch_kernel &kernel, size_t m, size_t k, size_t block_k, size_t c) {
    constexpr size_t step = 16;
    const size_t groups = (k + c * block_k - 1) / (c * block_k);
    const floats x = random_floats(m * k), s = random_floats(m * groups * block_k);
    std::mt19937 random(1);
    std::vector<sketch_entry> entries(groups * c);
    for (sketch_entry &entry : entries)
        entry = {static_cast<uint16_t>(random() % (block_k / step) * step), static_cast<uint16_t>(random() % 2)};
    for (auto _ : state) {
        kernel.run({.x = x.get(),
                    .s = s.get(),
                    .entries = entries.data(),
                    .m = m,
                    .k = k,
                    .ldx = k,
                    .lds = groups * block_k,
                    .block_k = block_k,
                    .c = c,
                    .groups = groups});
        benchmark::ClobberMemory();
    }
    state.counters["GFLOP/s"] = rate(static_cast<double>(m * k));
    state.counters["x_GB/s"] = rate(4.0 * static_cast<double>(m * k));
}

struct shape {
    size_t m, n, k;
};
constexpr shape gemm_shapes[] = {
    {1, 1024, 256},   {2, 1024, 256},   {4, 1024, 256},    {16, 1024, 256},
    {252, 1024, 512}, {256, 1024, 512}, {2016, 1024, 256},
};

void register_all() {
    const isa::mask here = cpu_detect_isas();
    for (const gemm_kernel &kernel : gemm_kernels()) {
        if (kernel.needs & ~here) continue;
        for (const shape &s : gemm_shapes)
            benchmark::RegisterBenchmark(
                (std::string(kernel.name) + "/" + std::to_string(s.m) + "x" + std::to_string(s.n) + "x" +
                 std::to_string(s.k))
                    .c_str(),
                [&kernel, s](benchmark::State &state) { run_gemm(state, kernel, s.m, s.n, s.k); });
    }
    for (const sketch_kernel &kernel : sketch_kernels()) {
        if (kernel.needs & ~here) continue;
        for (size_t c : {2, 4, 8})
            benchmark::RegisterBenchmark(
                (std::string(kernel.name) + "/m:64/k:1024/B_K:64/c:" + std::to_string(c)).c_str(),
                [&kernel, c](benchmark::State &state) { run_sketch(state, kernel, 64, 1024, 64, c); });
    }
}

}  // namespace

int main(int argc, char **argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    register_all();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
