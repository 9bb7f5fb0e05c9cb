// SPDX-License-Identifier: Apache-2.0
// Times every kernel that this CPU can run, of all families, single threaded and warm, on shapes of the models.
// Names are family/row/shape: --benchmark_filter=gemm_f32_f32_14x32_avx512/252. Layers of attention are also timed.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/amx.hpp"
#include "base/cpu.hpp"
#include "base/float_mode.hpp"
#include "base/kernel_scope.hpp"
#include "base/round.hpp"
#include "half.hpp"
#include "kernels.hpp"
#include "op/attention.hpp"
#include "op/split.hpp"
#include "robe.hpp"
#include "ss1/ss1.hpp"

using namespace ss1;

namespace {

struct free_memory {
    void operator()(void *p) const { std::free(p); }
};

// `count` random values of one type, between -1 and 1 (integers: of all 8 bits).
class values {
  public:
    values(dtype type, size_t count)
        : bytes_(std::aligned_alloc(64, round_up(std::max<size_t>(count * size_of(type), 1), 64))) {
        std::mt19937 random(1);
        for (size_t i = 0; i < count; i++) {
            const auto bits = static_cast<uint32_t>(random());
            const float value = static_cast<float>(bits) * 0x1p-31f - 1;
            if (type == dtype::f32) {
                as<float>()[i] = value;
            } else if (type == dtype::bf16) {
                as<uint16_t>()[i] = bf16_from_f32(value);
            } else if (type == dtype::f16) {
                as<uint16_t>()[i] = f16_from_f32(value);
            } else {
                as<uint8_t>()[i] = static_cast<uint8_t>(bits >> 24);
            }
        }
    }
    explicit values(size_t floats) : values(dtype::f32, floats) {}

    template <class T = float>
    T *as() const {
        return static_cast<T *>(bytes_.get());
    }

  private:
    std::unique_ptr<void, free_memory> bytes_;
};

benchmark::Counter rate(size_t per_iteration) {
    return {static_cast<double>(per_iteration) * 1e-9, benchmark::Counter::kIsIterationInvariantRate};
}

template <class F>
void measure(benchmark::State &state, F &&run) {
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
}

void run_gemm(benchmark::State &state, const gemm_kernel &kernel, size_t m, size_t n, size_t k) {
    const size_t tiles = ceil_div(n, kernel.nt), rows = round_up(m, kernel.row_multiple);
    const size_t step = kernel.fused ? m : kernel.mr;
    // A row is a cache line longer than a power of two, as in a layer.
    const size_t lda = k + 64 / size_of(kernel.a);
    const values a(kernel.a, rows * lda), b(kernel.b, tiles * k * kernel.nt), y(m * n);
    const values scales(std::max(m, tiles * kernel.nt));
    gemm_fused_args g{};
    g.b = b.as<void>();
    g.n = n;
    g.k = k;
    g.lda = lda;
    g.ldb = k * kernel.nt;
    g.ldy = n;
    if (kernel.b == dtype::s8) g.column_scale = scales.as();
    const scope_guard scope(kernel.scope);
    measure(state, [&] {
        for (size_t i = 0; i < m; i += step) {
            g.a = a.as<char>() + i * lda * size_of(kernel.a);
            g.y = y.as() + i * n;
            g.row_scale = scales.as();
            g.m = std::min<size_t>(step, m - i);
            if (kernel.fused) {
                kernel.fused(g);
            } else {
                kernel.panel({g, false, 0});
            }
        }
    });
    state.counters["GFLOP/s"] = rate(2 * m * n * k);
    state.counters["weights_GB/s"] = rate(n * k * size_of(kernel.b));
}

void run_sketch(benchmark::State &state, const sketch_kernel &kernel, size_t c, size_t sketches) {
    constexpr size_t m = 64, k = 1024, block_k = 64, step = 16;
    const size_t groups = ceil_div(k, c * block_k), columns = groups * block_k;
    const values x(kernel.x, m * k), s(kernel.s, sketches * m * columns);
    std::mt19937 random(1);
    std::vector<sketch_entry> entries(sketches * groups * c);
    for (sketch_entry &entry : entries)
        entry = {static_cast<uint16_t>(random() % (block_k / step) * step), static_cast<uint16_t>(random() % 2)};
    measure(state, [&] {
        kernel.run({.x = x.as<void>(),
                    .s = s.as<void>(),
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
    });
    state.counters["GFLOP/s"] = rate(sketches * m * k);
    state.counters["x_GB/s"] = rate(m * k * size_of(kernel.x));
}

void run_quantize(benchmark::State &state, const quantize_kernel &kernel, size_t m, size_t n) {
    const values s(kernel.s, m * n), q(dtype::u8, m * n), scale(m);
    measure(state, [&] {
        kernel.run({.s = s.as<void>(),
                    .q = q.as<void>(),
                    .scale = scale.as(),
                    .m = m,
                    .n = n,
                    .lds = n,
                    .ldq = n,
                    .zero = 128});
    });
    state.counters["Gvalues/s"] = rate(m * n);
}

void run_store(benchmark::State &state, const store_kernel &kernel, size_t m, size_t n) {
    const values c(m * n), y(kernel.y, m * n), residual(kernel.y, m * n);
    measure(state, [&] {
        kernel.run({.c = c.as(),
                    .y = y.as<void>(),
                    .residual = residual.as<void>(),
                    .m = m,
                    .n = n,
                    .ldc = n,
                    .ldy = n,
                    .ldr = n});
    });
    state.counters["Gvalues/s"] = rate(m * n);
}

// In place: the values move towards a fixed point from run to run, which costs the same, as denormals count as zero.
void run_activation(benchmark::State &state, const activation_kernel &kernel, size_t m, size_t n) {
    const values y(m * n);
    measure(state, [&] { kernel.run({.y = y.as(), .m = m, .n = n, .ldy = n}); });
    state.counters["Gvalues/s"] = rate(m * n);
}

void run_norm(benchmark::State &state, const norm_kernel &kernel, size_t m, size_t n) {
    const values x(m * n), r(m * n), gamma(n), beta(n), y(m * n);
    measure(state, [&] {
        kernel.run({.x = x.as(),
                    .r = r.as(),
                    .gamma = gamma.as(),
                    .beta = beta.as(),
                    .y = y.as(),
                    .m = m,
                    .n = n,
                    .eps = 1e-12f});
    });
    state.counters["Gvalues/s"] = rate(m * n);
}

void run_softmax(benchmark::State &state, const softmax_kernel &kernel, size_t m, size_t n) {
    const values y(m * n);
    measure(state, [&] { kernel.run({.y = y.as(), .m = m, .n = n, .ldy = n, .scale = 0.125f}); });
    state.counters["Gvalues/s"] = rate(m * n);
}

// One head; rows of q, k and v lie side by side as in a BERT layer of one head.
void run_attend(benchmark::State &state, const attend_kernel &kernel, size_t n, size_t d) {
    const size_t ld = 3 * d;
    const values qkv(kernel.type, round_up(n, kernel.row_multiple) * ld), y(kernel.type, n * ld), mask(n);
    const auto part = [&](size_t i) { return qkv.as<char>() + i * d * size_of(kernel.type); };
    const values scratch(dtype::u8, attend_scratch_bytes(n, d));
    const scope_guard scope(kernel.scope);
    measure(state, [&] {
        kernel.run({.q = part(0),
                    .k = part(1),
                    .v = part(2),
                    .mask = mask.as(),
                    .y = y.as<void>(),
                    .scratch = scratch.as<void>(),
                    .m = n,
                    .n = n,
                    .d = d,
                    .ld = ld,
                    .scale = 0.125f});
    });
    state.counters["GFLOP/s"] = rate(4 * n * n * d);
}

// A layer of BERT-base on one thread: by the kernel of attend, or by separate products and softmax.
void run_layer(benchmark::State &state, const char *level, dtype type, bool whole, size_t tokens) {
    constexpr size_t heads = 12, d = 64, ld = 3 * heads * d;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = level;
    options.num_threads = 1;
    const context_ptr context = make_context(options);
    attention_kernels kernels = select_attention(context->usable, d);
    if (!whole) kernels.attend_f32 = kernels.attend_bf16 = nullptr;
    const values qkv(type, round_up(tokens, row_group) * ld);
    const values scratch(dtype::u8, attention_scratch(*context, kernels, nullptr, 1, tokens, heads, d));
    const auto part = [&](size_t i) { return qkv.as<char>() + i * heads * d * size_of(type); };
    const sequence sequence = {0, tokens, nullptr};
    measure(state, [&] {
        attend(*context, kernels,
               {.q = part(0),
                .k = part(1),
                .v = part(2),
                .type = type,
                .sequences = {&sequence, 1},
                .heads = heads,
                .head_size = d,
                .ld = ld,
                .scratch = scratch.as<void>()});
    });
    state.counters["GFLOP/s"] = rate(4 * heads * tokens * tokens * d);
}

// Names are attention/level/type/whole or separate/tokens.
void register_layers(const char *level, isa::mask bit, isa::mask usable, dtype type) {
    const attend_kernel *kernel = select_attention(usable, 64).attend(type);
    if (!kernel || !(kernel->needs & bit)) return;
    for (const size_t tokens : {16, 128, 384})
        for (const bool whole : {false, true}) {
            const std::string name = std::string("attention/") + level + (type == dtype::f32 ? "/f32/" : "/bf16/") +
                                     (whole ? "whole/" : "separate/") + std::to_string(tokens);
            benchmark::RegisterBenchmark(
                name.c_str(), [=](benchmark::State &state) { run_layer(state, level, type, whole, tokens); });
        }
}

// Bags of 32 rows of a table that L2 holds in most formats.
void run_bag(benchmark::State &state, const bag_kernel &kernel, size_t d) {
    constexpr size_t rows = 4096, batch = 64, length = 32, robe_floats = 1 << 16;
    const bool robe = kernel.format == row_format::robe;
    const dtype type = kernel.format == row_format::f32 || robe ? dtype::f32
                       : kernel.format == row_format::bf16      ? dtype::bf16
                       : kernel.format == row_format::f16       ? dtype::f16
                                                                : dtype::u8;
    const values table(type, robe ? robe_floats + d : rows * row_bytes(kernel.format, d) / size_of(type));
    const values y(batch * d);
    std::mt19937 random(1);
    std::vector<int64_t> indices(batch * length), offsets(batch);
    for (int64_t &index : indices) index = static_cast<int64_t>(random() % rows);
    for (size_t b = 0; b < batch; b++) offsets[b] = static_cast<int64_t>(b * length);
    measure(state, [&] {
        kernel.run({.table = table.as<void>(),
                    .indices = indices.data(),
                    .offsets = offsets.data(),
                    .weights = nullptr,
                    .y = y.as(),
                    .rows = rows,
                    .d = d,
                    .batch = batch,
                    .ldy = d,
                    .end = static_cast<int64_t>(indices.size()),
                    .mean = false,
                    .checked = true,
                    .robe = robe ? make_robe_layout(1, 0, robe_floats, d) : robe_layout{}});
    });
    state.counters["Grows/s"] = rate(batch * length);
}

// 32 samples, as a row block of a DLRM has them. Only the products that are kept count.
void run_interact(benchmark::State &state, const interact_kernel &kernel, size_t f, size_t d) {
    constexpr size_t batch = 32;
    const size_t pairs = f * (f - 1) / 2, ldz = d + pairs;
    const values t(batch * f * d), z(batch * ldz);
    measure(state, [&] {
        kernel.run(
            {.t = t.as(), .z = z.as() + d, .batch = batch, .f = f, .d = d, .ldt = f * d, .ldz = ldz, .itself = false});
    });
    state.counters["GFLOP/s"] = rate(2 * batch * pairs * d);
    state.counters["Gsamples/s"] = rate(batch);
}

void run_cross(benchmark::State &state, const cross_kernel &kernel, size_t m, size_t n) {
    const values y(m * n), x0(m * n), x(m * n);
    measure(state, [&] {
        kernel.run({.y = y.as(), .x0 = x0.as(), .x = x.as(), .m = m, .n = n, .ldy = n, .ldx0 = n, .ldx = n});
    });
    state.counters["Gvalues/s"] = rate(m * n);
}

// The shapes of each family, the cheapest first: the reference runs no other.
struct shape {
    std::string name;
    std::function<void(benchmark::State &)> run;
};
using shapes = std::vector<shape>;

std::string by(size_t m, size_t n) {
    return std::to_string(m) + "x" + std::to_string(n);
}

template <class K>
shape shape_mn(const K &kernel, void (*run)(benchmark::State &, const K &, size_t, size_t), size_t m, size_t n) {
    return {by(m, n), [=, &kernel](benchmark::State &state) { run(state, kernel, m, n); }};
}

shapes shapes_of(const gemm_kernel &kernel) {
    constexpr size_t sizes[][3] = {{1, 1024, 256},   {2, 1024, 256},   {4, 1024, 256},   {16, 1024, 256},
                                   {252, 1024, 512}, {256, 1024, 512}, {2016, 1024, 256}};
    shapes all;
    for (const auto &[rows, columns, depth] : sizes) {
        const size_t m = rows, n = columns, k = depth;
        all.push_back({by(m, n) + "x" + std::to_string(k),
                       [=, &kernel](benchmark::State &state) { run_gemm(state, kernel, m, n, k); }});
    }
    return all;
}
shapes shapes_of(const sketch_kernel &kernel) {
    shapes all;
    for (const size_t c : {2, 4, 8})
        for (const size_t sketches : {1, 4})
            all.push_back({"64x1024/c:" + std::to_string(c) + "/sketches:" + std::to_string(sketches),
                           [=, &kernel](benchmark::State &state) { run_sketch(state, kernel, c, sketches); }});
    return all;
}
shapes shapes_of(const quantize_kernel &kernel) {
    return {shape_mn(kernel, run_quantize, 1, 1024), shape_mn(kernel, run_quantize, 64, 1024)};
}
shapes shapes_of(const store_kernel &kernel) {
    return {shape_mn(kernel, run_store, 1, 1024), shape_mn(kernel, run_store, 64, 1024)};
}
shapes shapes_of(const activation_kernel &kernel) {
    return {shape_mn(kernel, run_activation, 1, 1024), shape_mn(kernel, run_activation, 14, 1024)};
}
shapes shapes_of(const norm_kernel &kernel) {
    return {shape_mn(kernel, run_norm, 1, 768), shape_mn(kernel, run_norm, 128, 768)};
}
shapes shapes_of(const softmax_kernel &kernel) {
    return {shape_mn(kernel, run_softmax, 14, 128), shape_mn(kernel, run_softmax, 14, 512)};
}
shapes shapes_of(const attend_kernel &kernel) {
    return {shape_mn(kernel, run_attend, 128, 64), shape_mn(kernel, run_attend, 512, 64)};
}
shapes shapes_of(const bag_kernel &kernel) {
    const auto width = [&kernel](size_t d) {
        return shape{"d:" + std::to_string(d), [=, &kernel](benchmark::State &state) { run_bag(state, kernel, d); }};
    };
    return {width(16), width(128)};
}
shapes shapes_of(const interact_kernel &kernel) {
    shapes all;
    for (const size_t f : {8, 27, 200})
        for (const size_t d : {16, 32, 64, 128})
            all.push_back({"f:" + std::to_string(f) + "/d:" + std::to_string(d),
                           [=, &kernel](benchmark::State &state) { run_interact(state, kernel, f, d); }});
    return all;
}
shapes shapes_of(const cross_kernel &kernel) {
    return {shape_mn(kernel, run_cross, 1, 3456), shape_mn(kernel, run_cross, 32, 3456)};
}

void register_all() {
    isa::mask here = cpu_detect_isas();
    if (amx_refusal()) here &= ~(isa::amx_bf16 | isa::amx_int8);
    for_each_family([here](const auto &kernels) {
        for (const auto &kernel : kernels) {
            if (kernel.needs & ~here) continue;
            for (const shape &s : shapes_of(kernel)) {
                const std::string name = std::string(kernels.family) + "/" + kernel.name + "/" + s.name;
                benchmark::RegisterBenchmark(name.c_str(), s.run);
                if (kernel.needs == isa::none) break;
            }
        }
    });
    isa::mask usable = 0;
    for (const isa_level &level : isa_levels()) {
        usable |= level.bit & here;
        if (level.bit & here)
            for (const dtype type : {dtype::f32, dtype::bf16}) register_layers(level.name, level.bit, usable, type);
    }
}

}  // namespace

int main(int argc, char **argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    register_all();
    const float_mode mode;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
