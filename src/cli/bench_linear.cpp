// SPDX-License-Identifier: Apache-2.0
// ss1 bench linear: single layers against the dense layer they replace, in one process, taking turns.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <new>
#include <random>

#include "cli.hpp"
#include "csv.hpp"
#include "dense_baseline.hpp"
#include "progress.hpp"
#include "ranges.hpp"
#include "report.hpp"
#include "sampler.hpp"
#include "stats.hpp"

namespace ss1::cli {
namespace {

constexpr size_t max_size = size_t{1} << 24;
constexpr double error_bound = 1e-4;              // relative, in the Frobenius norm; f32 sums stay below 1e-5
constexpr size_t cold_bytes = size_t{400} << 20;  // more than the last-level cache of one socket
constexpr size_t max_copies = 65536;              // tiny layers: what a layer needs beside its weights adds up

const std::map<std::string, ss1_dtype> dtypes = {
    {"f32", SS1_DTYPE_F32}, {"bf16", SS1_DTYPE_BF16}, {"f16", SS1_DTYPE_F16}, {"int8", SS1_DTYPE_I8}};
const std::map<std::string, ss1_activation> activations = {
    {"none", SS1_ACTIVATION_NONE}, {"relu", SS1_ACTIVATION_RELU},
    {"gelu", SS1_ACTIVATION_GELU}, {"gelu_tanh", SS1_ACTIVATION_GELU_TANH},
    {"tanh", SS1_ACTIVATION_TANH}, {"sigmoid", SS1_ACTIVATION_SIGMOID},
    {"silu", SS1_ACTIVATION_SILU}};

struct bench_options {
    std::string m = "1,16,64", k = "1024", n = "1024,4096", c = "1,4,8", dtype = "f32", scheme = "mixed", threads = "1";
    std::string activation = "none", shapes, format = "md";
    uint32_t block_n = 0;
    sampling rule = {30, 0.2, 50e3};
    bool cold = false, no_dense = false;
};

// One layer, measured for every m.
struct layer_case {
    ss1_linear_desc desc;
    size_t stored_columns;
    std::string dtype;
    uint32_t threads;
};

struct free_aligned {
    void operator()(float *p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using float_array = std::unique_ptr<float[], free_aligned>;

// NaN: the check finds values that nobody wrote.
float_array make_floats(size_t count) {
    float_array values(static_cast<float *>(::operator new[](count * sizeof(float), std::align_val_t{64})));
    std::fill_n(values.get(), count, std::numeric_limits<float>::quiet_NaN());
    return values;
}

float_array random_floats(size_t count, float deviation, uint32_t seed) {
    float_array values = make_floats(count);
    std::minstd_rand random(seed);
    std::normal_distribution<float> normal(0, deviation);
    std::generate_n(values.get(), count, [&] { return normal(random); });
    return values;
}

std::vector<std::pair<size_t, size_t>> shapes_of(const bench_options &options) {
    std::vector<std::pair<size_t, size_t>> shapes;
    if (options.shapes.empty()) {
        for (const size_t k : parse_ranges("-k", options.k, max_size))
            for (const size_t n : parse_ranges("-n", options.n, max_size)) shapes.emplace_back(k, n);
        return shapes;
    }
    csv_reader reader(options.shapes);
    const size_t columns[2] = {reader.column("k"), reader.column("n")};
    while (reader.next()) {
        int64_t sizes[2];
        for (size_t i = 0; i < 2; ++i)
            if (!parse_integer(reader.field(columns[i]), sizes[i]) || sizes[i] < 1 ||
                static_cast<size_t>(sizes[i]) > max_size)
                reader.fail(columns[i], "'" + reader.field(columns[i]) + "' is not a size");
        shapes.emplace_back(sizes[0], sizes[1]);
    }
    return shapes;
}

// Adds the layer. One that breaks a rule (c times B_K above K) is left out of the grid, with a word about it.
void add_case(std::vector<layer_case> &cases, layer_case wanted, ss1_dtype dtype) {
    wanted.desc.x_dtype = wanted.desc.y_dtype = wanted.desc.weight_dtype = dtype;
    const ss1_status status = ss1_linear_resolve(&wanted.desc, &wanted.stored_columns);
    if (status == SS1_ERROR_INVALID_ARGUMENT) {
        std::fprintf(stderr, "ss1: left out: %s\n", ss1_last_error());
        return;
    }
    check(status);
    cases.push_back(std::move(wanted));
}

std::vector<layer_case> cases_of(const bench_options &options) {
    std::vector<layer_case> cases;
    const std::vector<std::string> schemes = parse_names("--scheme", options.scheme);
    for (const size_t threads : parse_ranges("--threads", options.threads, 4096))
        for (const auto &[k, n] : shapes_of(options))
            for (const size_t c : parse_ranges("-c", options.c, max_size))
                for (const std::string &scheme : schemes)
                    for (const std::string &dtype : parse_names("--dtype", options.dtype)) {
                        if (!dtypes.contains(dtype))
                            throw failure("--dtype: '" + dtype + "' is none of f32, bf16, f16, int8");
                        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
                        desc.scheme = parse_scheme(scheme);
                        if (c == 1 && scheme != schemes.front()) continue;  // dense: there is no scheme
                        desc.K = k;
                        desc.N = n;
                        desc.c = static_cast<uint32_t>(c);
                        desc.block_n = options.block_n;
                        desc.activation = activations.at(options.activation);
                        add_case(cases, {desc, 0, dtype, static_cast<uint32_t>(threads)}, dtypes.at(dtype));
                    }
    if (cases.empty())
        throw failure("no layer is left to measure", "choose -c and -k so that c times the K-block (64) is at most K");
    return cases;
}

// How many copies of weights of this size go round; a quarter of the free memory is the limit of each contender.
size_t rotation(bool cold, size_t weight_bytes, const char *who) {
    if (!cold) return 1;
    const size_t free_bytes =
        static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t allowed = std::min(cold_bytes, free_bytes / 4);
    const size_t copies = std::clamp<size_t>((allowed + weight_bytes - 1) / weight_bytes, 1, max_copies);
    if (copies * weight_bytes < cold_bytes)
        std::fprintf(stderr, "ss1: --cold: only %s of %s weights go round (%zu copies), not %s\n",
                     human_bytes(copies * weight_bytes).c_str(), who, copies, human_bytes(cold_bytes).c_str());
    return copies;
}

// One layer under measurement: its context, its copies and the dense weight that it stands for.
class contender {
  public:
    contender(const layer_case &wanted, bool cold) : context_(make_context(wanted.threads)) {
        const ss1_linear_desc &desc = wanted.desc;
        const float_array z =
            random_floats(desc.N * wanted.stored_columns, 1 / std::sqrt(static_cast<float>(desc.K)), 1);
        bias = random_floats(desc.N, 1, 2);
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z.get();
        weights.bias = bias.get();
        add_copy(desc, weights);
        check(ss1_layer_describe(layers_[0].get(), &info));
        for (size_t i = 1, n = rotation(cold, info.weight_bytes, "SS1"); i < n; ++i) add_copy(desc, weights);
        expanded = make_floats(desc.K * desc.N);
        check(ss1_expand(&desc, z.get(), 0, expanded.get(), 0));
    }

    void run(const ss1_linear_args &args) {
        if (++next_ >= layers_.size()) next_ = 0;
        check(ss1_layer_run(layers_[next_].get(), &args));
    }

    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    float_array bias, expanded;

  private:
    void add_copy(const ss1_linear_desc &desc, const ss1_linear_weights &weights) {
        ss1_layer *layer = nullptr;
        check(ss1_layer_create(context_.get(), &desc, &weights, &layer));
        layers_.emplace_back(layer);
    }

    context_handle context_;
    std::vector<layer_handle> layers_;
    size_t next_ = 0;
};

void compare(const float *got, const float *expected, size_t count, const std::string &what) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; ++i) {
        difference += std::pow(static_cast<double>(got[i]) - expected[i], 2);
        norm += std::pow(static_cast<double>(expected[i]), 2);
    }
    if (difference <= error_bound * error_bound * norm) return;  // false for NaN; true for nothing but zeros
    throw failure(format("WRONG RESULT: %s differs from the expanded dense layer by %.3g, allowed is %.0e",
                         what.c_str(), std::sqrt(difference / norm), error_bound),
                  "nothing was measured; please report this with the command line and 'ss1 info --kernels'");
}

json make_row(const layer_case &measured, const ss1_layer_info &info, size_t m, std::span<const timing> timings) {
    const ss1_linear_desc &desc = measured.desc;
    const double rows = static_cast<double>(m), ns = percentile(timings[0].sorted_ns, 0.5);
    const double bytes =
        rows * static_cast<double>((desc.K + desc.N) * sizeof(float)) + static_cast<double>(info.weight_bytes);
    json row = {{"m", m},
                {"k", desc.K},
                {"n", desc.N},
                {"c", desc.c},
                {"scheme", scheme_name(desc)},
                {"dtype", measured.dtype}};
    row["threads"] = measured.threads;
    row["kernel"] = info.kernels;
    row["ns_median"] = rounded(ns, 1);
    row["ns_p10"] = rounded(percentile(timings[0].sorted_ns, 0.1), 1);
    row["ns_p90"] = rounded(percentile(timings[0].sorted_ns, 0.9), 1);
    for (const char *key : {"dense_library", "dense_ns_median", "speedup"}) row[key] = nullptr;
    if (timings.size() > 1) {
        const double dense_ns = percentile(timings[1].sorted_ns, 0.5);
        row["dense_library"] = dense_library();
        row["dense_ns_median"] = rounded(dense_ns, 1);
        row["speedup"] = rounded(dense_ns / ns, 3);
    }
    row["gflops_done"] = rounded(rows * info.flops_per_row / ns, 2);
    row["gflops_dense_equiv"] = rounded(rows * info.flops_per_row_dense / ns, 2);
    row["gbytes_s"] = rounded(bytes / ns, 2);
    return row;
}

json measure(const bench_options &options, const layer_case &wanted, contender &layer, size_t m) {
    const ss1_linear_desc &desc = wanted.desc;
    const float_array x = random_floats(m * desc.K, 1, 3);
    const float_array y = make_floats(m * desc.N), dense_y = make_floats(m * desc.N);
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x.get();
    args.y = y.get();

    const bool timed = !options.no_dense && !dense_library().empty();
    const size_t copies = rotation(options.cold && timed, desc.K * desc.N * sizeof(float), "dense");
    dense_baseline dense(
        {m, desc.K, desc.N, desc.activation, layer.expanded.get(), layer.bias.get(), x.get(), dense_y.get()}, copies,
        wanted.threads);
    layer.run(args);
    dense.run(0);
    compare(
        y.get(), dense_y.get(), m * desc.N,
        format("m=%zu k=%zu n=%zu c=%u %s with %s", m, desc.K, desc.N, desc.c, scheme_name(desc), layer.info.kernels));

    std::vector<std::function<void()>> calls = {[&] { layer.run(args); }};
    size_t copy = 0;
    if (timed)
        calls.emplace_back([&] {
            if (++copy >= copies) copy = 0;
            dense.run(copy);
        });
    return make_row(wanted, layer.info, m, interleave(calls, options.rule));
}

const std::vector<column> columns = {{"m", "m"},
                                     {"k", "k"},
                                     {"n", "n"},
                                     {"c", "c"},
                                     {"scheme", "scheme", 1, 0, 9},
                                     {"dtype", "dtype"},
                                     {"threads", "threads"},
                                     {"ns_median", "us", 1e-3, 2, 9},
                                     {"ns_p10", "p10", 1e-3, 2, 9},
                                     {"ns_p90", "p90", 1e-3, 2, 9},
                                     {"dense_ns_median", "dense us", 1e-3, 2, 9},
                                     {"speedup", "speedup", 1, 2},
                                     {"gflops_done", "GFLOP/s", 1, 1},
                                     {"gflops_dense_equiv", "as dense", 1, 1},
                                     {"gbytes_s", "GB/s", 1, 1},
                                     {"kernel", "kernel"}};

json document_head(const bench_options &options) {
    const context_handle context = make_context();
    json head = machine_info(context_info(context));
    head["dense"] = options.no_dense || dense_library().empty() ? "not measured" : dense_library();
    head["weights"] = options.cold ? "cold: " + human_bytes(cold_bytes) + " in rotation for each contender" : "warm";
    head["activation"] = options.activation;
    head["threads_pinned"] = false;
    return head;
}

void run_bench(const bench_options &options) {
    const std::vector<size_t> ms = parse_ranges("-m", options.m, max_size);
    const std::vector<layer_case> cases = cases_of(options);
    report table(options.format, columns, document_head(options));
    progress line;
    size_t done = 0;
    for (const layer_case &wanted : cases) {
        contender layer(wanted, options.cold);
        for (const size_t m : ms) {
            line.show(format("[%zu/%zu] m=%zu k=%zu n=%zu c=%u %s, %u threads", ++done, cases.size() * ms.size(), m,
                             wanted.desc.K, wanted.desc.N, wanted.desc.c, scheme_name(wanted.desc), wanted.threads));
            const json row = measure(options, wanted, layer, m);
            line.clear();
            table.add(row);
        }
    }
    table.finish();
}

}  // namespace

void add_bench_linear(CLI::App &bench) {
    const auto options = std::make_shared<bench_options>();
    bench_options &o = *options;
    CLI::App &command = *bench.add_subcommand("linear", "Measure single layers against oneDNN's dense ones");
    command.add_option("-m", o.m, "Rows")->capture_default_str();
    CLI::Option &k = *command.add_option("-k", o.k, "Inputs of the layer")->capture_default_str();
    CLI::Option &n = *command.add_option("-n", o.n, "Outputs of the layer")->capture_default_str();
    command.add_option("-c", o.c, "Compression; 1 is dense")->capture_default_str();
    command.add_option("--dtype", o.dtype, "f32; this version refuses bf16, f16 and int8")->capture_default_str();
    command.add_option("--scheme", o.scheme, "mixed, reference")->capture_default_str();
    command.add_option("--threads", o.threads, "Threads of both contenders")->capture_default_str();
    command
        .add_option("--activation", o.activation,
                    "One of none, relu, gelu, gelu_tanh, tanh, sigmoid, silu; for both contenders")
        ->check(CLI::IsMember(activations))
        ->capture_default_str();
    command.add_option("--block-n", o.block_n, "B_N of the SS1 layers; default by N");
    command.add_option("--shapes", o.shapes, "CSV file with the columns k and n, instead of -k and -n")
        ->excludes(&k)
        ->excludes(&n);
    command.add_option("--repetitions", o.rule.samples, "Least samples of each contender")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    command.add_option("--min-time", o.rule.seconds, "Least seconds for a row")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    command.add_flag("--cold", o.cold,
                     "Let each call find its weights in memory, as a deep net does: 400 MiB of copies go round");
    command.add_flag("--no-dense", o.no_dense, "Do not time the dense layer (it still checks the result)");
    command.add_option("-o,--output-format", o.format, "md, csv, json or jsonl")
        ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
        ->capture_default_str();
    command.footer(
        "Lists and ranges: 1,8 or 1-8 or 16-64+16 or 1-8*2; all combinations are measured. The contenders take turns "
        "in one\n"
        "process, threads are not pinned, weights are packed beforehand. A sample repeats calls shorter than 50 us.\n"
        "Example: ss1 bench linear -m 1-256*4 -k 1024 -n 4096 -c 4,8 --scheme reference,mixed -o jsonl");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::cli
