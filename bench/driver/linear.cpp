// SPDX-License-Identifier: Apache-2.0
// ss1-bench linear: compares the layers of a shape with every dense peer and with the composition "sketch, then oneDNN
// at K/c". All take turns in one process.
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "apps/csv.hpp"
#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "cli/progress.hpp"
#include "cli/ranges.hpp"
#include "driver/ceiling.hpp"
#include "driver/commands.hpp"
#include "driver/composition.hpp"
#include "driver/layers.hpp"
#include "driver/linear_data.hpp"
#include "driver/peers.hpp"
#include "driver/placement.hpp"
#include "driver/report.hpp"
#include "driver/sampler.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

constexpr size_t cold_bytes = size_t{400} << 20;  // more than the last-level cache of one socket
constexpr size_t max_copies = 65536;              // limits the memory that tiny layers need beside their weights
constexpr double disturbed_ratio = 1.4;           // time of the control over the ceiling, see ceiling.hpp
constexpr size_t least_rounds = 3;                // that drop_disturbed() must keep

const std::map<std::string, ss1_activation> activations = {
    {"none", SS1_ACTIVATION_NONE}, {"relu", SS1_ACTIVATION_RELU},
    {"gelu", SS1_ACTIVATION_GELU}, {"gelu_tanh", SS1_ACTIVATION_GELU_TANH},
    {"tanh", SS1_ACTIVATION_TANH}, {"sigmoid", SS1_ACTIVATION_SIGMOID},
    {"silu", SS1_ACTIVATION_SILU}};

struct bench_options {
    std::string m = "1,16,64", k = "1024", n = "1024,4096", c = "1,4,8", dtype = "f32", scheme = "mixed", threads = "1";
    std::string activation = "none", rank, shapes, peers, rows = "bf16", format = "md";
    uint32_t block_n = 0;
    sampling rule = layer_sampling;
    bool cold = false, no_dense = false, denormals = false;
};

// All layers of one shape, precision and number of threads: they take turns.
struct layer_group {
    size_t k, n;
    precision type;
    uint32_t threads;
};

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

std::vector<layer_group> groups_of(const bench_options &options) {
    std::vector<layer_group> groups;
    for (const size_t threads : parse_ranges("--threads", options.threads, 4096))
        for (const auto &[k, n] : shapes_of(options))
            for (const std::string &dtype : parse_names("--dtype", options.dtype))
                groups.push_back({k, n, parse_precision(dtype, options.rows == "f32"), static_cast<uint32_t>(threads)});
    return groups;
}

// A layer to measure.
struct layer_spec {
    ss1_linear_desc desc;
    size_t stored_columns;
    uint32_t wanted_c;
    std::string scheme;
};

layer_spec resolve(const layer_group &group, const bench_options &options, const compression &wanted) {
    layer_spec spec = {SS1_LINEAR_DESC_INIT, 0, wanted.c, wanted.c == 1 && !wanted.rank ? "dense" : wanted.scheme};
    spec.desc.K = group.k;
    spec.desc.N = group.n;
    spec.desc.block_n = options.block_n;
    spec.desc.activation = activations.at(options.activation);
    spec.desc.x_dtype = group.type.x;
    spec.desc.y_dtype = group.type.y;
    spec.desc.weight_dtype = group.type.weight;
    spec.stored_columns = resolve_layer(spec.desc, wanted);
    return spec;
}

// The number of copies of weights of this size that take turns: at least one, and at most each contender's share of
// memory.
size_t rotation(bool cold, size_t weight_bytes, size_t contenders) {
    if (!cold) return 1;
    const size_t free_bytes =
        static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t allowed = std::min(cold_bytes, free_bytes / (2 * contenders));
    return std::clamp<size_t>((allowed + weight_bytes - 1) / weight_bytes, 1, max_copies);
}

// An SS1 layer with its copies, and the dense weight that it represents.
class own_layer {
  public:
    own_layer(const layer_spec &wanted, const linear_data &data, const context_handle &context, bool cold,
              size_t contenders)
        : spec(wanted) {
        const ss1_linear_desc &desc = spec.desc;
        const bool dense = desc.c == 1 && desc.rank == 0;
        const float deviation = 1 / std::sqrt(static_cast<float>(desc.K));
        array<float> z;
        weights_.z = data.weight.get();  // a dense layer has the peers' weights
        weights_.bias = data.bias.get();
        if (!dense) {
            z = random_floats(desc.N * spec.stored_columns, deviation, 1);
            u_ = random_floats(desc.N * desc.rank, 1 / std::sqrt(static_cast<float>(desc.rank + 1)), 4);
            v_ = random_floats(desc.rank * desc.K, deviation, 5);
            weights_.z = desc.c ? z.get() : nullptr;
            weights_.u = desc.rank ? u_.get() : nullptr;
            weights_.v = desc.rank ? v_.get() : nullptr;
            expanded_ = make_array<float>(desc.K * desc.N);
            check(ss1_linear_expand(&desc, &weights_, expanded_.get(), 0));
        }
        expanded = dense ? data.weight.get() : expanded_.get();
        const ss1_linear_weights &weights = weights_;
        layers_.push_back(create_layer(context, desc, weights));
        check(ss1_layer_describe(layers_[0].get(), &info));
        for (size_t i = 1, n = rotation(cold, info.weight_bytes, contenders); i < n; ++i)
            layers_.push_back(create_layer(context, desc, weights));
    }

    void run(const ss1_linear_args &args) {
        if (++next_ >= layers_.size()) next_ = 0;
        check(ss1_layer_run(layers_[next_].get(), &args));
    }

    size_t copies() const { return layers_.size(); }
    const ss1_linear_weights &weights() const { return weights_; }  // z only if the layer is dense

    layer_spec spec;
    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    const float *expanded;

  private:
    std::vector<layer_handle> layers_;
    size_t next_ = 0;
    array<float> expanded_, u_, v_;
    ss1_linear_weights weights_ = SS1_LINEAR_WEIGHTS_INIT;
};

// A layer of low rank as a tower of two dense layers, with the type of x between them.
class two_layers {
  public:
    two_layers(const own_layer &layer, const context_handle &context, bool cold, size_t contenders) {
        const size_t n = rotation(cold, layer.info.weight_bytes, contenders);
        for (size_t i = 0; i < n; ++i) towers_.emplace_back(layer, context);
    }
    void run(const ss1_linear_args &args) {
        if (++next_ >= towers_.size()) next_ = 0;
        check(ss1_tower_run(towers_[next_].tower.get(), &args));
    }
    size_t copies() const { return towers_.size(); }

  private:
    struct pair {
        pair(const own_layer &layer, const context_handle &context) {
            ss1_linear_desc first = layer.spec.desc, second = first;
            first.rank = second.rank = 0;
            first.c = second.c = 1;
            first.N = second.K = layer.spec.desc.rank;
            first.y_dtype = first.x_dtype;
            first.activation = SS1_ACTIVATION_NONE;
            ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
            weights.z = layer.weights().v;
            down = create_layer(context, first, weights);
            weights.z = layer.weights().u;
            weights.bias = layer.weights().bias;
            up = create_layer(context, second, weights);
            const ss1_layer *const layers[] = {down.get(), up.get()};
            ss1_tower *made = nullptr;
            check(ss1_tower_create(layers, 2, &made));
            tower.reset(made);
        }
        layer_handle down, up;
        tower_handle tower;
    };
    std::vector<pair> towers_;
    size_t next_ = 0;
};

// A contender: it is called once in each round.
struct entrant {
    std::string name;  // "" for own layers: first all with X, then, with --denormals, all with denormal X
    uint32_t c;        // c of the composition; 0 for a dense peer and a tower
    size_t own;        // of a tower: the index of its layer, plus 1; else 0
    size_t copies;
    std::function<void()> run;
};

// Makes layers and data once for a group, and the peers' layers for each m.
class group_bench {
  public:
    group_bench(const bench_options &options, const layer_group &group, const peer_list &peers, size_t max_m);
    std::vector<json> measure(size_t m);

  private:
    size_t contenders() const { return own_count_ + (peers_.found.size() + composed_.size()) * 2; }
    void add_own(size_t m);
    void add_towers();
    void add_peers(size_t m);
    void add_compositions(size_t m);
    bool usable(const std::string &name, const std::function<void()> &run, ss1_peer_output output,
                const expectation &expected);
    std::vector<timing> time_all();
    json make_row(const own_layer &layer, size_t m, const std::vector<timing> &timings, size_t index) const;
    void add_comparison(json &row, double ns, uint32_t c, size_t index, const std::vector<timing> &timings) const;

    const bench_options &options_;
    const layer_group &group_;
    const peer_list &peers_;
    size_t own_count_;
    linear_data data_;
    context_handle context_;
    std::map<uint32_t, composed_weights> composed_;
    std::vector<std::unique_ptr<own_layer>> own_;
    std::map<size_t, two_layers> towers_;  // by the index of the own layer
    std::vector<double> errors_;
    ceiling ceiling_;
    array<uint32_t> denormal_x_;  // denormals in f32, and in both halves in bf16
    // For one m:
    ss1_linear_args args_, denormal_args_;
    std::vector<entrant> entrants_;
    json not_measured_;
    size_t rounds_ = 0, dropped_ = 0;
};

std::vector<layer_spec> specs_of(const bench_options &options, const layer_group &group) {
    std::vector<layer_spec> specs;
    for (const compression &wanted : parse_compressions(options.c, options.scheme))
        specs.push_back(resolve(group, options, wanted));
    for (const compression &wanted : parse_ranks(options.rank, options.scheme))
        specs.push_back(resolve(group, options, wanted));
    return specs;
}

group_bench::group_bench(const bench_options &options, const layer_group &group, const peer_list &peers, size_t max_m)
    : options_(options),
      group_(group),
      peers_(peers),
      data_(group.k, group.n, max_m, group.type),
      context_(make_context(group.threads)),
      ceiling_(make_ceiling(group.type.name, group.threads)),
      denormal_x_(make_array<uint32_t>(options.denormals ? max_m * group.k : 0)),
      args_(SS1_LINEAR_ARGS_INIT) {
    for (size_t i = 0; options.denormals && i < max_m * group.k; ++i)
        denormal_x_[i] = static_cast<uint32_t>(1 + i % 127) * 0x10001;
    const std::vector<layer_spec> specs = specs_of(options, group);
    own_count_ = specs.size();
    const bool composes =
        std::ranges::any_of(peers.found, [](const ss1_peer *peer) { return std::string_view(peer->name) == "oneDNN"; });
    for (const layer_spec &spec : specs)
        if (const uint32_t c = spec.desc.c; c > 1 && !spec.desc.rank && composes && !composed_.contains(c)) {
            const layer_spec reference = resolve(group, options, {c, "reference"});
            composed_.try_emplace(c, reference.desc, reference.stored_columns, data_);
        }
    for (const layer_spec &spec : specs)
        own_.push_back(std::make_unique<own_layer>(spec, data_, context_, options.cold, contenders()));
    for (size_t i = 0; i < own_.size(); ++i)
        if (specs[i].desc.c == 0) towers_.try_emplace(i, *own_[i], context_, options.cold, contenders());
}

void group_bench::add_own(size_t m) {
    args_.m = m;
    args_.x = data_.layer_x();
    args_.y = data_.layer_y();
    errors_.clear();
    for (const auto &layer : own_) {
        const expectation expected(data_, m, layer->expanded, layer->spec.desc.activation);
        spoil_output(data_, m);
        layer->run(args_);
        const double error = expected.error(group_.type.y == SS1_DTYPE_BF16 ? SS1_PEER_TO_BF16 : SS1_PEER_TO_F32);
        if (!(error <= group_.type.error_bound))
            throw failure(format("WRONG RESULT: m=%zu k=%zu n=%zu c=%u %s %s with %s differs from the expanded dense "
                                 "layer by %.3g, allowed is %.0e",
                                 m, group_.k, group_.n, layer->spec.desc.c, layer->spec.scheme.c_str(),
                                 group_.type.name.c_str(), layer->info.kernels, error, group_.type.error_bound),
                          "nothing was measured; please report this with the command line and 'ss1 info --kernels'");
        errors_.push_back(error);
        entrants_.push_back({"", 0, 0, layer->copies(), [this, l = layer.get()] { l->run(args_); }});
    }
    denormal_args_ = args_;
    denormal_args_.x = denormal_x_.get();
    for (size_t i = 0; options_.denormals && i < own_.size(); ++i)
        entrants_.push_back({"", 0, 0, own_[i]->copies(), [this, l = own_[i].get()] { l->run(denormal_args_); }});
}

void group_bench::add_towers() {
    const ss1_peer_output output = group_.type.y == SS1_DTYPE_BF16 ? SS1_PEER_TO_BF16 : SS1_PEER_TO_F32;
    for (auto &[i, tower] : towers_) {
        const own_layer &layer = *own_[i];
        const expectation expected(data_, args_.m, layer.expanded, layer.spec.desc.activation);
        const std::string name = format("two layers of rank %zu", layer.spec.desc.rank);
        const auto run = [this, t = &tower] { t->run(args_); };
        if (usable(name, run, output, expected)) entrants_.push_back({name, 0, i + 1, tower.copies(), run});
    }
}

// Runs a contender once. A wrong result is reported and not timed.
bool group_bench::usable(const std::string &name, const std::function<void()> &run, ss1_peer_output output,
                         const expectation &expected) {
    spoil_output(data_, args_.m);
    run();
    const double error = expected.error(output);
    if (error <= group_.type.error_bound) return true;
    not_measured_[name] = format("its result differs by %.3g, allowed is %.0e", error, group_.type.error_bound);
    return false;
}

std::vector<ss1_peer_output> outputs_of(const precision &type) {
    if (type.y == SS1_DTYPE_F32) return {SS1_PEER_TO_F32};
    return {SS1_PEER_TO_BF16, SS1_PEER_TO_F32};
}

std::string name_of(const std::string &peer, const precision &type, ss1_peer_output output) {
    return peer + (type.y == SS1_DTYPE_BF16 && output == SS1_PEER_TO_F32 ? " to f32" : "");
}

void group_bench::add_peers(size_t m) {
    if (peers_.found.empty()) return;
    const ss1_activation activation = activations.at(options_.activation);
    const expectation expected(data_, m, data_.weight.get(), activation);
    const size_t copies = rotation(options_.cold, group_.n * group_.k * data_.dense.item_bytes(), contenders());
    for (const ss1_peer *peer : peers_.found) {
        const size_t before = entrants_.size() + not_measured_.size();
        std::string why;
        for (const ss1_peer_output output : outputs_of(group_.type)) {
            const std::string name = name_of(label(*peer), group_.type, output);
            ss1_peer_problem problem = data_.problem(m);
            problem.output = output;
            problem.activation = activation;
            problem.y = data_.peer_y(output);
            problem.copies = peer->max_copies ? std::min(copies, peer->max_copies) : copies;
            problem.threads = group_.threads;
            const std::shared_ptr<peer_layer> layer = peer_layer::create(*peer, problem, why);
            if (!layer) continue;
            const auto run = [layer] { layer->run(); };
            if (usable(name, run, output, expected)) entrants_.push_back({name, 0, 0, problem.copies, run});
        }
        if (entrants_.size() + not_measured_.size() == before) not_measured_[label(*peer)] = why;
    }
}

void group_bench::add_compositions(size_t m) {
    const ss1_activation activation = activations.at(options_.activation);
    for (const auto &[c, weights] : composed_) {
        const expectation expected(data_, m, weights.expanded.get(), activation);
        const size_t copies =
            rotation(options_.cold, group_.n * weights.plan.columns() * weights.packed.item_bytes(), contenders());
        for (const ss1_peer *peer : peers_.found) {
            if (std::string_view(peer->name) != "oneDNN") continue;
            for (const ss1_peer_output output : outputs_of(group_.type)) {
                const std::string name = name_of("sketch + " + label(*peer), group_.type, output);
                ss1_peer_problem problem = data_.problem(m);
                problem.output = output;
                problem.activation = activation;
                problem.y = data_.peer_y(output);
                problem.copies = copies;
                problem.threads = group_.threads;
                std::string why;
                const std::shared_ptr<composed_layer> layer =
                    composed_layer::create(*peer, weights, data_, problem, why);
                const auto run = [layer] { layer->run(); };
                if (!layer)
                    not_measured_[name] = why;
                else if (usable(name, run, output, expected))
                    entrants_.push_back({name, c, 0, copies, run});
            }
        }
    }
}

// Drops the rounds in which tile loads were disturbed, unless too few would remain.
void drop_disturbed(std::vector<timing> &timings, size_t ceiling, size_t control, size_t &dropped) {
    const std::vector<double> &limit = timings[ceiling].ns, &seen = timings[control].ns;
    std::vector<size_t> kept;
    for (size_t i = 0; i < seen.size(); ++i)
        if (seen[i] <= disturbed_ratio * limit[i]) kept.push_back(i);
    if (kept.size() < least_rounds) return;
    dropped = seen.size() - kept.size();
    std::vector<timing> calm = timings;
    for (size_t t = 0; t < timings.size(); ++t) {
        calm[t].ns.clear();
        for (const size_t i : kept) calm[t].ns.push_back(timings[t].ns[i]);
    }
    timings = std::move(calm);
}

std::vector<timing> group_bench::time_all() {
    std::vector<std::function<void()>> calls;
    for (const entrant &e : entrants_) calls.push_back(e.run);
    if (ceiling_.run) calls.push_back(ceiling_.run);
    if (ceiling_.control) calls.push_back(ceiling_.control);
    sampling rule = options_.rule;
    if (group_.threads > 1) rule.pause_ns = 2.5e6;
    const pinned one_core(group_.threads);
    std::vector<timing> timings = interleave(calls, rule);
    rounds_ = timings[0].ns.size();
    dropped_ = 0;
    if (ceiling_.control) drop_disturbed(timings, entrants_.size(), entrants_.size() + 1, dropped_);
    for (timing &t : timings) t.ns = sorted(std::move(t.ns));
    return timings;
}

double median(const timing &t) {
    return percentile(t.ns, 0.5);
}

// Adds the contenders, the fastest peer, the composition of the same c, and the tower of own layer `index`.
void group_bench::add_comparison(json &row, double ns, uint32_t c, size_t index,
                                 const std::vector<timing> &timings) const {
    const entrant *fastest = nullptr;
    double peer_ns = 0, composed_ns = 0, tower_ns = 0;
    json all = json::object();
    for (size_t i = own_.size(); i < entrants_.size(); ++i) {
        const entrant &e = entrants_[i];
        if (e.name.empty() || (e.c != 0 && e.c != c) || (e.own != 0 && e.own != index + 1)) continue;
        const double its_ns = median(timings[i]);
        json &its = all[e.name];
        add_spread(its, "ns", timings[i].ns, 1);
        its["copies"] = e.copies;
        if (e.own != 0) tower_ns = its_ns;
        if (e.c == 0 && e.own == 0 && (!fastest || its_ns < peer_ns)) {
            fastest = &e;
            peer_ns = its_ns;
        }
        if (e.c != 0 && (composed_ns == 0 || its_ns < composed_ns)) composed_ns = its_ns;
    }
    for (const char *key : {"fastest_peer", "peer_ns_median", "speedup", "composition_ns_median", "composition_ratio",
                            "tower_ns_median", "tower_ratio"})
        row[key] = nullptr;
    if (fastest) {
        row["fastest_peer"] = fastest->name;
        row["peer_ns_median"] = rounded(peer_ns, 1);
        row["speedup"] = rounded(peer_ns / ns, 3);
    }
    if (composed_ns > 0) {
        row["composition_ns_median"] = rounded(composed_ns, 1);
        row["composition_ratio"] = rounded(composed_ns / ns, 3);
    }
    if (tower_ns > 0) {
        row["tower_ns_median"] = rounded(tower_ns, 1);
        row["tower_ratio"] = rounded(tower_ns / ns, 3);
    }
    row["contenders"] = all;
    row["not_measured"] = not_measured_;
}

json group_bench::make_row(const own_layer &layer, size_t m, const std::vector<timing> &timings, size_t index) const {
    const ss1_layer_info &info = layer.info;
    const uint32_t c = layer.spec.desc.c;
    const double rows = static_cast<double>(m), ns = median(timings[index]);
    const size_t x_bytes = group_.type.x == SS1_DTYPE_BF16 ? 2 : 4, y_bytes = group_.type.y == SS1_DTYPE_BF16 ? 2 : 4;
    const size_t bytes = m * (group_.k * x_bytes + group_.n * y_bytes) + info.weight_bytes;
    json row = {{"m", m},
                {"k", group_.k},
                {"n", group_.n},
                {"c", layer.spec.wanted_c},
                {"rank", layer.spec.desc.rank},
                {"scheme", layer.spec.scheme},
                {"dtype", group_.type.name}};
    row["threads"] = group_.threads;
    row["ran_as"] = c == 0 ? "low rank" : c == 1 ? "dense" : "ss1";
    row["kernel"] = info.kernels;
    add_spread(row, "ns", timings[index].ns, 1);
    if (options_.denormals) row["denormal_ratio"] = rounded(median(timings[own_.size() + index]) / ns, 3);
    add_comparison(row, ns, layer.spec.desc.rank ? 0 : c, index, timings);
    row["gflops_done"] = rounded(rows * info.flops_per_row / ns, 2);
    row["gflops_dense_equiv"] = rounded(rows * info.flops_per_row_dense / ns, 2);
    for (const char *key : {"ceiling", "ceiling_gflops", "percent_of_ceiling"}) row[key] = nullptr;
    if (ceiling_.run) {
        const double limit = ceiling_.flops / median(timings[entrants_.size()]);
        row["ceiling"] = ceiling_.name;
        row["ceiling_gflops"] = rounded(limit, 1);
        row["percent_of_ceiling"] = rounded(100 * rows * info.flops_per_row / ns / limit, 1);
    }
    row["bytes"] = bytes;
    row["weight_bytes"] = info.weight_bytes;
    row["gbytes_s"] = rounded(static_cast<double>(bytes) / ns, 2);
    row["copies"] = layer.copies();
    row["error"] = rounded(errors_[index], 7);
    row["rounds"] = rounds_;
    row["rounds_dropped"] = dropped_;
    return row;
}

std::vector<json> group_bench::measure(size_t m) {
    entrants_.clear();
    not_measured_ = json::object();
    add_own(m);
    add_towers();
    add_peers(m);
    add_compositions(m);
    const std::vector<timing> timings = time_all();
    std::vector<json> rows;
    for (size_t i = 0; i < own_.size(); ++i) rows.push_back(make_row(*own_[i], m, timings, i));
    entrants_.clear();  // frees memory before the next m
    return rows;
}

std::vector<column> columns_of(const bench_options &options) {
    std::vector<column> columns = {{"m", "m"},
                                   {"k", "k"},
                                   {"n", "n"},
                                   {"c", "c"},
                                   {"rank", "rank"},
                                   {"scheme", "scheme", 1, 0, 9},
                                   {"dtype", "dtype"},
                                   {"threads", "threads"},
                                   {"ns_median", "us", 1e-3, 2, 9},
                                   {"ns_p10", "p10", 1e-3, 2, 9},
                                   {"ns_p90", "p90", 1e-3, 2, 9},
                                   {"peer_ns_median", "peer us", 1e-3, 2, 9},
                                   {"speedup", "speedup", 1, 2},
                                   {"composition_ratio", "composed", 1, 2},
                                   {"tower_ratio", "tower", 1, 2},
                                   {"gflops_done", "GFLOP/s", 1, 1},
                                   {"percent_of_ceiling", "% ceiling", 1, 1},
                                   {"gflops_dense_equiv", "as dense", 1, 1},
                                   {"gbytes_s", "GB/s", 1, 1},
                                   {"fastest_peer", "fastest peer", 1, 0, 16},
                                   {"kernel", "kernel"}};
    if (options.denormals) columns.insert(columns.end() - 1, {"denormal_ratio", "denormals", 1, 2, 9});
    return columns;
}

json document_head(const bench_options &options, const peer_list &peers) {
    const context_handle context = make_context();
    json head = machine_info(context_info(context));
    json found = json::array();
    for (const ss1_peer *peer : peers.found) found.push_back(label(*peer));
    head["peers"] = options.no_dense ? json("not measured") : found;
    head["peers_missing"] = peers.missing;
    head["weights"] = options.cold ? "cold" : "warm";
    head["rotation_bytes"] = options.cold ? json(cold_bytes) : json(nullptr);
    head["activation"] = options.activation;
    head["environment"] = pool_settings();
    return head;
}

void run_bench(const bench_options &options) {
    const std::vector<size_t> ms = parse_ranges("-m", options.m, max_size);
    const std::vector<layer_group> groups = groups_of(options);
    for (const layer_group &group : groups) specs_of(options, group);  // finds errors before the first measurement
    restart_with_pool_settings();
    const peer_list peers = options.no_dense ? peer_list() : load_peers(options.peers);
    if (!options.no_dense && peers.found.empty())
        std::fprintf(stderr, "ss1-bench: no peer found, ss1 is measured alone (see --peers)\n");
    report table(options.format, columns_of(options), document_head(options, peers));
    progress line;
    size_t done = 0;
    for (const layer_group &group : groups) {
        group_bench bench(options, group, peers, std::ranges::max(ms));
        for (const size_t m : ms) {
            line.show(format("[%zu/%zu] m=%zu k=%zu n=%zu %s, %u threads", ++done, groups.size() * ms.size(), m,
                             group.k, group.n, group.type.name.c_str(), group.threads));
            const std::vector<json> rows = bench.measure(m);
            line.clear();
            for (const json &row : rows) table.add(row);
        }
    }
    table.finish();
}

void add_layer_options(CLI::App &command, bench_options &o) {
    command.add_option("-m", o.m, "Rows of x")->capture_default_str();
    CLI::Option &k = *command.add_option("-k", o.k, "Inputs of the layer")->capture_default_str();
    CLI::Option &n = *command.add_option("-n", o.n, "Outputs of the layer")->capture_default_str();
    command.add_option("-c", o.c, "Compression; 1 is dense, and so is a c with c * 64 > K")->capture_default_str();
    command.add_option("--rank", o.rank,
                       "Also layers with a part of low rank: 152 alone, 8+76 beside a tied part with c = 8");
    command.add_option("--dtype", o.dtype, "f32, bf16 (x, y and weights) or int8 (weights)")->capture_default_str();
    command.add_option("--rows", o.rows, "Type of x and y of int8 layers: bf16 or f32")
        ->check(CLI::IsMember({"bf16", "f32"}))
        ->capture_default_str();
    command.add_option("--scheme", o.scheme, "mixed, reference")->capture_default_str();
    command
        .add_option("--activation", o.activation,
                    "Activation of all contenders: none, relu, gelu, gelu_tanh, tanh, sigmoid or silu")
        ->check(CLI::IsMember(activations))
        ->capture_default_str();
    command.add_option("--block-n", o.block_n, "B_N of the SS1 layers; default: depends on N");
    command.add_option("--shapes", o.shapes, "CSV file with the columns k and n; replaces -k and -n")
        ->excludes(&k)
        ->excludes(&n);
}

void add_measuring_options(CLI::App &command, bench_options &o) {
    command.add_option("--threads", o.threads, "Threads of each contender")->capture_default_str();
    add_sampling(command, o.rule, "samples of each contender", "the layers of one shape and m");
    add_most_time(command, o.rule);
    command.add_flag(
        "--cold", o.cold,
        "Read the weights of each call from memory, as a deep net does: calls take turns on 400 MiB of copies");
    command.add_option("--peers", o.peers,
                       "Folder of the peers' modules, libpeer-*.so; default: that of the build or the installation");
    command.add_flag("--denormals", o.denormals,
                     "Also measure each layer with denormal inputs, and report the ratio of times");
    command.add_flag("--no-dense", o.no_dense, "Measure ss1 alone; its results are checked all the same");
    add_output_format(command, o.format);
}

}  // namespace

void add_linear(CLI::App &app) {
    const auto options = std::make_shared<bench_options>();
    CLI::App &command = *app.add_subcommand(
        "linear", "Compare single layers with every dense peer and with 'sketch, then oneDNN at K/c'");
    add_layer_options(command, *options);
    add_measuring_options(command, *options);
    command.footer(
        "Values are lists or ranges: 1,8 or 1-8 or 16-64+16 or 1-8*2; all combinations are measured. All layers of\n"
        "one shape and m, the peers and the machine's ceiling take turns in one process; one thread stays on one\n"
        "core. Weights are packed before. A sample repeats calls shorter than 50 us. speedup: time of the fastest\n"
        "peer over ss1's; composed: time of 'sketch, then oneDNN' over ss1's; tower: time of a layer of low rank\n"
        "run as two dense layers over ss1's.\n"
        "Example: ss1-bench linear -m 1-256*4 -k 1024 -n 4096 -c 4,8 --scheme reference,mixed -o jsonl");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::bench
