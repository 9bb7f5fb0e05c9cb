// SPDX-License-Identifier: Apache-2.0
// ss1-bench tower: compares a tower, which takes each row block through all layers, with the same layers run one after
// the other. Both take turns in one process.
#include <CLI/CLI.hpp>
#include <cstring>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "cli/progress.hpp"
#include "cli/ranges.hpp"
#include "driver/arrays.hpp"
#include "driver/commands.hpp"
#include "driver/layers.hpp"
#include "driver/linear_data.hpp"
#include "driver/placement.hpp"
#include "driver/report.hpp"
#include "driver/sampler.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

struct bench_options {
    std::string m = "16,128,256,1024,2048", widths = "479,1024,1024,512,256,1", c = "1,4", dtype = "f32",
                scheme = "mixed", threads = "1", format = "md";
    sampling rule = layer_sampling;
};

// The parsed options.
struct plan {
    std::vector<size_t> ms, widths;
    std::vector<compression> compressions;
    sampling rule;
};

// The tower's x and y are f32, as in a DLRM; between the layers the values have `type`.
ss1_linear_desc describe_layer(const plan &all, size_t i, const precision &type) {
    const bool last = i + 2 == all.widths.size();
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = all.widths[i];
    desc.N = all.widths[i + 1];
    desc.activation = last ? SS1_ACTIVATION_SIGMOID : SS1_ACTIVATION_RELU;
    desc.x_dtype = i == 0 ? SS1_DTYPE_F32 : type.x;
    desc.y_dtype = last ? SS1_DTYPE_F32 : type.y;
    desc.weight_dtype = type.weight;
    return desc;
}

// Buffers for the most rows, which all contenders of a group share. Single layers alternate between the two hidden
// ones.
struct memory {
    array<float> x, y;
    array<char> hidden[2], scratch;
    size_t hidden_row_bytes[2] = {0, 0};
};

// The layers of one compression, run one by one and as a tower.
class chain {
  public:
    chain(const plan &all, const compression &compressed, const precision &type, const context_handle &context);
    void run_tower(const ss1_linear_args &args) const { check(ss1_tower_run(tower_.get(), &args)); }
    void run_layers(ss1_linear_args args, const memory &buffers) const;
    size_t tower_scratch(size_t m) const { return ss1_tower_scratch_bytes(tower_.get(), m); }
    size_t layers_scratch(size_t m) const;

    compression wanted;
    double flops_per_row = 0;
    size_t tied_layers = 0;
    json kernels = json::array();

  private:
    std::vector<layer_handle> layers_;
    tower_handle tower_;
};

chain::chain(const plan &all, const compression &compressed, const precision &type, const context_handle &context)
    : wanted(compressed) {
    std::vector<const ss1_layer *> pointers;
    for (size_t i = 0; i + 1 < all.widths.size(); ++i) {
        ss1_linear_desc desc = describe_layer(all, i, type);
        const size_t stored_columns = resolve_layer(desc, wanted);
        const array<float> z =
            random_floats(desc.N * stored_columns, 1 / std::sqrt(static_cast<float>(desc.K)), static_cast<uint32_t>(i));
        const array<float> bias = random_floats(desc.N, 1, static_cast<uint32_t>(i + all.widths.size()));
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z.get();
        weights.bias = bias.get();
        layers_.push_back(create_layer(context, desc, weights));
        pointers.push_back(layers_.back().get());
        ss1_layer_info info = SS1_LAYER_INFO_INIT;
        check(ss1_layer_describe(pointers.back(), &info));
        flops_per_row += info.flops_per_row;
        tied_layers += desc.c > 1;
        kernels.push_back(info.kernels);
    }
    ss1_tower *tower = nullptr;
    check(ss1_tower_create(pointers.data(), pointers.size(), &tower));
    tower_.reset(tower);
}

void chain::run_layers(ss1_linear_args args, const memory &buffers) const {
    void *const y = args.y;
    for (size_t i = 0; i < layers_.size(); ++i) {
        args.y = i + 1 == layers_.size() ? y : buffers.hidden[i % 2].get();
        check(ss1_layer_run(layers_[i].get(), &args));
        args.x = args.y;
    }
}

size_t chain::layers_scratch(size_t m) const {
    size_t bytes = 0;
    for (const layer_handle &layer : layers_) bytes = std::max(bytes, ss1_layer_scratch_bytes(layer.get(), m));
    return bytes;
}

// All chains of one precision and number of threads.
class group_bench {
  public:
    group_bench(const plan &all, const precision &type, uint32_t threads);
    std::vector<json> measure(size_t m);

  private:
    void allocate();
    void check_bits(const chain &checked) const;
    json make_row(const chain &measured, const timing &tower, const timing &layers) const;

    const plan &all_;
    precision type_;
    uint32_t threads_;
    context_handle context_;
    std::vector<chain> chains_;
    memory memory_;
    ss1_linear_args args_ = SS1_LINEAR_ARGS_INIT;
};

group_bench::group_bench(const plan &all, const precision &type, uint32_t threads)
    : all_(all), type_(type), threads_(threads), context_(make_context(threads)) {
    for (const compression &wanted : all.compressions) chains_.emplace_back(all, wanted, type, context_);
    allocate();
}

void group_bench::allocate() {
    const size_t rows = std::ranges::max(all_.ms);
    const size_t item_bytes = type_.y == SS1_DTYPE_BF16 ? 2 : 4;
    for (size_t i = 0; i + 2 < all_.widths.size(); ++i) {
        size_t &bytes = memory_.hidden_row_bytes[i % 2];
        bytes = std::max(bytes, all_.widths[i + 1] * item_bytes);
    }
    for (size_t i = 0; i < 2; ++i) memory_.hidden[i] = make_array<char>(rows * memory_.hidden_row_bytes[i]);
    size_t scratch = 0;
    for (const chain &c : chains_)
        for (const size_t m : all_.ms) scratch = std::max({scratch, c.tower_scratch(m), c.layers_scratch(m)});
    memory_.scratch = make_array<char>(scratch);
    memory_.x = random_floats(rows * all_.widths.front(), 1, 3);
    memory_.y = make_array<float>(rows * all_.widths.back());
    args_.x = memory_.x.get();
    args_.y = memory_.y.get();
    args_.scratch = memory_.scratch.get();
}

// Throws unless both ways give the same bits and finite values.
void group_bench::check_bits(const chain &checked) const {
    const size_t columns = all_.widths.back(), count = args_.m * columns;
    fill_nan(memory_.y.get(), count);
    checked.run_layers(args_, memory_);
    const array<float> expected = make_array<float>(count);
    std::copy_n(memory_.y.get(), count, expected.get());
    fill_nan(memory_.y.get(), count);
    checked.run_tower(args_);
    for (size_t i = 0; i < count; ++i) {
        const float value = memory_.y[i];
        if (std::isfinite(value) && std::memcmp(&value, &expected[i], sizeof value) == 0) continue;
        throw failure(
            format(
                "WRONG RESULT: m=%zu c=%u %s %s, %u threads: the tower's row %zu, column %zu is %.9g, its layers one "
                "by one give %.9g",
                args_.m, checked.wanted.c, checked.wanted.scheme.c_str(), type_.name.c_str(), threads_, i / columns,
                i % columns, static_cast<double>(value), static_cast<double>(expected[i])),
            "nothing was measured; please report this with the command line and 'ss1 info --kernels'");
    }
}

json group_bench::make_row(const chain &measured, const timing &tower, const timing &layers) const {
    const std::vector<double> ns = sorted(tower.ns);
    std::vector<double> ratios;
    for (size_t round = 0; round < ns.size(); ++round) ratios.push_back(layers.ns[round] / tower.ns[round]);
    json row = {{"m", args_.m}, {"c", measured.wanted.c}};
    row["scheme"] = measured.wanted.c == 1 ? "dense" : measured.wanted.scheme;
    row["dtype"] = type_.name;
    row["threads"] = threads_;
    row["tied_layers"] = measured.tied_layers;
    row["kernels"] = measured.kernels;
    add_spread(row, "tower_ns", ns, 1);
    add_spread(row, "layers_ns", sorted(layers.ns), 1);
    add_spread(row, "ratio", sorted(ratios), 3);
    row["gflops_done"] = rounded(static_cast<double>(args_.m) * measured.flops_per_row / percentile(ns, 0.5), 2);
    row["tower_bytes"] = measured.tower_scratch(args_.m);
    row["layers_bytes"] =
        measured.layers_scratch(args_.m) + args_.m * (memory_.hidden_row_bytes[0] + memory_.hidden_row_bytes[1]);
    row["rounds"] = ns.size();
    return row;
}

std::vector<json> group_bench::measure(size_t m) {
    args_.m = m;
    std::vector<std::function<void()>> calls;
    for (const chain &c : chains_) {
        check_bits(c);
        calls.emplace_back([this, &c] { c.run_tower(args_); });
        calls.emplace_back([this, &c] { c.run_layers(args_, memory_); });
    }
    const pinned one_core(threads_);
    const std::vector<timing> timings = interleave(calls, all_.rule);
    std::vector<json> rows;
    for (size_t i = 0; i < chains_.size(); ++i)
        rows.push_back(make_row(chains_[i], timings[2 * i], timings[2 * i + 1]));
    return rows;
}

const std::vector<column> columns = {{"m", "m"},
                                     {"c", "c"},
                                     {"scheme", "scheme", 1, 0, 9},
                                     {"dtype", "dtype"},
                                     {"threads", "threads"},
                                     {"tower_ns_median", "tower us", 1e-3, 1, 9},
                                     {"tower_ns_p10", "p10", 1e-3, 1, 9},
                                     {"tower_ns_p90", "p90", 1e-3, 1, 9},
                                     {"layers_ns_median", "layers us", 1e-3, 1, 9},
                                     {"ratio_median", "ratio", 1, 3},
                                     {"ratio_p10", "p10", 1, 3},
                                     {"ratio_p90", "p90", 1, 3},
                                     {"gflops_done", "GFLOP/s", 1, 1},
                                     {"tower_bytes", "tower KiB", 1.0 / 1024, 1, 9},
                                     {"layers_bytes", "layers KiB", 1.0 / 1024, 1, 9}};

plan parse(const bench_options &options) {
    plan all = {parse_ranges("-m", options.m, max_size), parse_ranges("--widths", options.widths, max_size),
                parse_compressions(options.c, options.scheme), options.rule};
    if (all.widths.size() < 2)
        throw failure("--widths: '" + options.widths + "' is one width, a layer has inputs and outputs",
                      "write the inputs of the first layer, then the outputs of each layer, like 479,1024,1");
    return all;
}

json document_head(const bench_options &options) {
    json head = machine_info(context_info(make_context()));
    head["widths"] = options.widths;
    head["environment"] = pool_settings();
    return head;
}

// Finds errors before the first measurement.
std::vector<precision> parse_types(const bench_options &options, const plan &all) {
    std::vector<precision> types;
    for (const std::string &name : parse_names("--dtype", options.dtype)) {
        types.push_back(parse_precision(name, false));
        for (const compression &wanted : all.compressions)
            for (size_t i = 0; i + 1 < all.widths.size(); ++i) {
                ss1_linear_desc desc = describe_layer(all, i, types.back());
                resolve_layer(desc, wanted);
            }
    }
    return types;
}

void run_bench(const bench_options &options) {
    const plan all = parse(options);
    const std::vector<precision> types = parse_types(options, all);
    const std::vector<size_t> thread_counts = parse_ranges("--threads", options.threads, 4096);
    restart_with_pool_settings();
    report table(options.format, columns, document_head(options));
    progress line;
    for (const size_t threads : thread_counts)
        for (const precision &type : types) {
            group_bench bench(all, type, static_cast<uint32_t>(threads));
            for (const size_t m : all.ms) {
                line.show(format("m=%zu %s, %zu threads", m, type.name.c_str(), threads));
                const std::vector<json> rows = bench.measure(m);
                line.clear();
                for (const json &row : rows) table.add(row);
            }
        }
    table.finish();
}

}  // namespace

void add_tower(CLI::App &app) {
    const auto options = std::make_shared<bench_options>();
    bench_options &o = *options;
    CLI::App &command =
        *app.add_subcommand("tower", "Compare layers as a tower (ss1_tower) with the same layers one by one");
    command.add_option("-m", o.m, "Rows of x")->capture_default_str();
    command
        .add_option("--widths", o.widths,
                    "Inputs of the first layer, then outputs of each layer; default: the top MLP of MLPerf's DLRM")
        ->capture_default_str();
    command.add_option("-c", o.c, "Compression; 1 is dense, and so is a layer with c * 64 > K")->capture_default_str();
    command
        .add_option("--dtype", o.dtype,
                    "f32, bf16 (weights and values between layers) or int8 (weights; bf16 between layers)")
        ->capture_default_str();
    command.add_option("--scheme", o.scheme, "mixed, reference")->capture_default_str();
    command.add_option("--threads", o.threads, "Threads of each contender")->capture_default_str();
    add_sampling(command, o.rule, "samples of each contender", "all contenders of one m");
    add_most_time(command, o.rule);
    add_output_format(command, o.format);
    command.footer(
        "Values are lists or ranges: 1,8 or 1-8 or 16-64+16 or 1-8*2; all combinations are measured. ReLU follows\n"
        "each layer, a sigmoid the last; x and y are f32. Single layers alternate between two buffers of all rows.\n"
        "All contenders of one m take turns in one process, after a check that both ways give the same bits; one\n"
        "thread stays on one core. ratio: time of the layers over the tower's in the same round. KiB: scratch; that\n"
        "of the layers includes their buffers.\n"
        "Example: ss1-bench tower -m 256,2048 --widths 479,1024,1024,512,256,1 -c 1,4 --dtype f32,bf16");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::bench
