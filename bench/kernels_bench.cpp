// SPDX-License-Identifier: Apache-2.0
// Every gemm, sketch and interact kernel that this CPU has, on the shapes of the models, single threaded and warm.
// One benchmark per row and shape: --benchmark_filter=gemm_f32_f32_14x32_avx512/252
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/amx.hpp"
#include "base/cpu.hpp"
#include "base/kernel_scope.hpp"
#include "half.hpp"
#include "kernels.hpp"

using namespace ss1;

namespace {

struct free_memory {
    void operator()(void *p) const { std::free(p); }
};
using bytes = std::unique_ptr<void, free_memory>;

// `count` random values of one type, between -1 and 1 (integers: of all 8 bits).
bytes random_values(dtype type, size_t count) {
    bytes values(std::aligned_alloc(64, (count * size_of(type) + 63) / 64 * 64));
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (size_t i = 0; i < count; i++) {
        const float value = uniform(random);
        if (type == dtype::f32) {
            static_cast<float *>(values.get())[i] = value;
        } else if (type == dtype::bf16) {
            static_cast<uint16_t *>(values.get())[i] = bf16_from_f32(value);
        } else if (type == dtype::f16) {  // of a few exponents
            static_cast<uint16_t *>(values.get())[i] = static_cast<uint16_t>(random() & 0x83ff) | 0x3800;
        } else {
            static_cast<uint8_t *>(values.get())[i] = static_cast<uint8_t>(random());
        }
    }
    return values;
}

benchmark::Counter rate(double per_iteration) {
    return {per_iteration * 1e-9, benchmark::Counter::kIsIterationInvariantRate};
}

void run_gemm(benchmark::State &state, const gemm_kernel &kernel, size_t m, size_t n, size_t k) {
    const size_t tiles = (n + kernel.nt - 1) / kernel.nt, rows = (m + 31) / 32 * 32,
                 step = kernel.fused ? m : kernel.mr;
    // Rows a cache line apart from a power of two, as layers lay them out.
    const size_t lda = k + 64 / size_of(kernel.a);
    const bytes a = random_values(kernel.a, rows * lda), b = random_values(kernel.b, tiles * k * kernel.nt);
    const bytes y = random_values(dtype::f32, m * n),
                scales = random_values(dtype::f32, std::max(m, tiles * kernel.nt));
    const bytes starts = random_values(dtype::f32, tiles * kernel.nt);
    const scope_guard scope(kernel.scope);
    gemm_fused_args g{};
    g.b = b.get();
    g.n = n;
    g.k = k;
    g.lda = lda;
    g.ldb = k * kernel.nt;
    g.ldy = n;
    if (kernel.b == dtype::s8) {
        g.column_scale = static_cast<const float *>(scales.get());
        g.column_start = static_cast<const int32_t *>(starts.get());
    }
    for (auto _ : state) {
        for (size_t i = 0; i < m; i += step) {
            g.a = static_cast<const char *>(a.get()) + i * lda * size_of(kernel.a);
            g.y = static_cast<float *>(y.get()) + i * n;
            g.row_scale = static_cast<const float *>(scales.get());
            g.m = std::min<size_t>(step, m - i);
            if (kernel.fused) {
                kernel.fused(g);
            } else {
                kernel.panel({g, false, 0});
            }
        }
        benchmark::ClobberMemory();
    }
    state.counters["GFLOP/s"] = rate(2.0 * static_cast<double>(m * n * k));
    state.counters["weights_GB/s"] = rate(static_cast<double>(n * k * size_of(kernel.b)));
}

void run_sketch(benchmark::State &state, const sketch_kernel &kernel, size_t m, size_t k, size_t block_k, size_t c,
                size_t sketches) {
    constexpr size_t step = 16;
    const size_t groups = (k + c * block_k - 1) / (c * block_k), columns = groups * block_k;
    const bytes x = random_values(kernel.x, m * k), s = random_values(kernel.s, sketches * m * columns);
    std::mt19937 random(1);
    std::vector<sketch_entry> entries(sketches * groups * c);
    for (sketch_entry &entry : entries)
        entry = {static_cast<uint16_t>(random() % (block_k / step) * step), static_cast<uint16_t>(random() % 2)};
    for (auto _ : state) {
        kernel.run({.x = x.get(),
                    .s = s.get(),
                    .entries = entries.data(),
                    .m = m,
                    .k = k,
                    .ldx = k,
                    .lds = columns,
                    .block_k = block_k,
                    .c = c,
                    .groups = groups,
                    .sketches = sketches,
                    .sketch_stride = m * columns});
        benchmark::ClobberMemory();
    }
    state.counters["GFLOP/s"] = rate(static_cast<double>(sketches * m * k));
    state.counters["x_GB/s"] = rate(static_cast<double>(m * k * size_of(kernel.x)));
}

// 32 samples, as a row block of a DLRM has them; only the products that are kept count.
void run_interact(benchmark::State &state, const interact_kernel &kernel, size_t f, size_t d) {
    constexpr size_t batch = 32;
    const size_t pairs = f * (f - 1) / 2, ldz = d + pairs;
    const bytes t = random_values(dtype::f32, batch * f * d), z = random_values(dtype::f32, batch * ldz);
    for (auto _ : state) {
        kernel.run(
            {static_cast<const float *>(t.get()), static_cast<float *>(z.get()) + d, batch, f, d, f * d, ldz, false});
        benchmark::ClobberMemory();
    }
    state.counters["GFLOP/s"] = rate(2.0 * static_cast<double>(batch * pairs * d));
    state.counters["samples/ns"] = rate(batch);
}

struct shape {
    size_t m, n, k;
};
constexpr shape gemm_shapes[] = {
    {1, 1024, 256},   {2, 1024, 256},   {4, 1024, 256},    {16, 1024, 256},
    {252, 1024, 512}, {256, 1024, 512}, {2016, 1024, 256},
};

void register_all() {
    isa::mask here = cpu_detect_isas();
    if (amx_refusal()) here &= ~(isa::amx_bf16 | isa::amx_int8);
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
        for (const size_t c : {2, 4, 8})
            for (const size_t sketches : {1, 4})
                benchmark::RegisterBenchmark(
                    (std::string(kernel.name) + "/m:64/k:1024/B_K:64/c:" + std::to_string(c) +
                     "/sketches:" + std::to_string(sketches))
                        .c_str(),
                    [=, &kernel](benchmark::State &state) { run_sketch(state, kernel, 64, 1024, 64, c, sketches); });
    }
    for (const interact_kernel &kernel : interact_kernels()) {
        if (kernel.needs & ~here) continue;
        for (const size_t f : {8, 27, 200})
            for (const size_t d : {16, 32, 64, 128})
                benchmark::RegisterBenchmark(
                    (std::string(kernel.name) + "/f:" + std::to_string(f) + "/d:" + std::to_string(d)).c_str(),
                    [=, &kernel](benchmark::State &state) { run_interact(state, kernel, f, d); });
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
