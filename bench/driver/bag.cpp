// SPDX-License-Identifier: Apache-2.0
// ss1-bench bag: compares embedding bags with a plain gather of the same rows and with unchecked bags. All take turns
// in one process.
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <map>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "cli/progress.hpp"
#include "cli/ranges.hpp"
#include "driver/arrays.hpp"
#include "driver/commands.hpp"
#include "driver/gather.hpp"
#include "driver/placement.hpp"
#include "driver/report.hpp"
#include "driver/sampler.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

struct bench_options {
    std::string rows = "1000000", d = "64,128", dtype = "f32,bf16,f16,int8,int4", pooling = "1,20,80", batch = "512",
                tables = "1", threads = "1", format = "md";
    bool weighted = false;
    sampling rule = layer_sampling;
};

struct format_row {
    ss1_table_dtype dtype;
    size_t (*row_bytes)(size_t d);
};
const std::map<std::string, format_row> formats = {
    {"f32", {SS1_TABLE_F32, [](size_t d) { return 4 * d; }}},
    {"bf16", {SS1_TABLE_BF16, [](size_t d) { return 2 * d; }}},
    {"f16", {SS1_TABLE_F16, [](size_t d) { return 2 * d; }}},
    {"int8", {SS1_TABLE_INT8, [](size_t d) { return d + 8; }}},
    {"int4", {SS1_TABLE_INT4, [](size_t d) { return (d + 1) / 2 + 4; }}}};

// Memory in huge pages, like the library's own tables.
struct free_huge {
    void operator()(unsigned char *p) const { std::free(p); }
};
using huge_array = std::unique_ptr<unsigned char[], free_huge>;
huge_array make_huge(size_t bytes) {
    constexpr size_t page = size_t{2} << 20;
    const size_t rounded = (bytes + page - 1) / page * page;
    void *p = std::aligned_alloc(page, rounded);
    if (!p) throw std::bad_alloc();
    madvise(p, rounded, MADV_HUGEPAGE);
    return huge_array(static_cast<unsigned char *>(p));
}

// Fills a row with finite values: random bytes, but floats with small exponents.
void fill_row(unsigned char *row, const std::string &dtype, size_t d, std::minstd_rand &random) {
    const auto put = [&](size_t at, auto value) { std::memcpy(row + at, &value, sizeof value); };
    std::uniform_real_distribution<float> value(-1, 1);
    const auto small_half = [&] { return static_cast<uint16_t>(0x2000 | (random() & 0x83ff)); };
    for (size_t i = 0; i < formats.at(dtype).row_bytes(d); ++i) row[i] = static_cast<unsigned char>(random() >> 8);
    for (size_t j = 0; j < d; ++j) {
        if (dtype == "f32") put(4 * j, value(random));
        if (dtype == "bf16") put(2 * j, to_bf16(value(random)));
        if (dtype == "f16") put(2 * j, small_half());
    }
    if (dtype == "int8") put(d, 0.01f), put(d + 4, -1.25f);
    if (dtype == "int4") put((d + 1) / 2, uint16_t{0x2c00}), put((d + 1) / 2 + 2, uint16_t{0xb800});
}

struct shape {
    size_t rows, d, tables, batch, pooling;
    std::string dtype;
    uint32_t threads;

    size_t row_bytes() const { return formats.at(dtype).row_bytes(d); }
    size_t total() const { return tables * batch * pooling; }
};

// Tables and sets of indices. As in a service, rows must not be in a cache: all sets together read more than a cache
// holds, and the contenders use different sets.
class bag_bench {
  public:
    bag_bench(const shape &what, bool weighted);
    json measure(const sampling &rule);

  private:
    ss1_bags_args arguments(size_t set, bool unchecked) const;
    void gather(size_t set) const;
    void check_result() const;

    shape shape_;
    context_handle context_;
    std::vector<huge_array> tables_;
    bags_handle bags_;
    std::vector<std::vector<int64_t>> sets_;
    std::vector<int64_t> offsets_;
    array<float> weights_, y_;
};

bag_bench::bag_bench(const shape &what, bool weighted) : shape_(what), context_(make_context(what.threads)) {
    constexpr size_t touched_bytes = size_t{512} << 20, most_sets = 1000;
    std::minstd_rand random(1);
    std::vector<ss1_table> described;
    const size_t row = shape_.row_bytes(), distinct = std::min<size_t>(shape_.rows, 1024);
    for (size_t t = 0; t < shape_.tables; ++t) {
        unsigned char *table = tables_.emplace_back(make_huge(shape_.rows * row)).get();
        for (size_t x = 0; x < distinct; ++x) fill_row(table + x * row, shape_.dtype, shape_.d, random);
        for (size_t x = distinct; x < shape_.rows; ++x) std::memcpy(table + x * row, table + x % distinct * row, row);
        described.push_back(
            {sizeof(ss1_table), "table", formats.at(shape_.dtype).dtype, SS1_POOLING_SUM, shape_.rows, table});
    }
    ss1_bags *bags = nullptr;
    check(ss1_bags_create(context_.get(), shape_.d, described.data(), described.size(), &bags));
    bags_.reset(bags);
    std::mt19937_64 draw(2);
    std::uniform_int_distribution<int64_t> index(0, static_cast<int64_t>(shape_.rows) - 1);
    sets_.resize(std::clamp<size_t>(touched_bytes / (shape_.total() * row), 4, most_sets));
    for (auto &set : sets_) {
        set.resize(shape_.total());
        std::ranges::generate(set, [&] { return index(draw); });
    }
    for (size_t b = 0; b < shape_.tables * shape_.batch; ++b)
        offsets_.push_back(static_cast<int64_t>(b * shape_.pooling));
    if (weighted) weights_ = random_floats(shape_.total(), 1, 5);
    y_ = make_array<float>(shape_.batch * shape_.tables * shape_.d);
}

ss1_bags_args bag_bench::arguments(size_t set, bool unchecked) const {
    ss1_bags_args args = SS1_BAGS_ARGS_INIT;
    args.unchecked = unchecked;
    args.batch = shape_.batch;
    args.total = shape_.total();
    args.indices = sets_[set % sets_.size()].data();
    args.offsets = offsets_.data();
    args.weights = weights_.get();
    args.y = y_.get();
    return args;
}

void bag_bench::gather(size_t set) const {
    const size_t row = shape_.row_bytes(), rows = shape_.batch * shape_.pooling;
    uint64_t sum = 0;
    for (size_t t = 0; t < shape_.tables; ++t)
        sum += gather_rows({tables_[t].get(), row, sets_[set % sets_.size()].data() + t * rows, rows}, shape_.threads);
    asm volatile("" ::"r"(sum));
}

// Throws unless all sums are finite, and equal with and without checks.
void bag_bench::check_result() const {
    const size_t count = shape_.batch * shape_.tables * shape_.d;
    fill_nan(y_.get(), count);
    ss1_bags_args run = arguments(0, false);
    check(ss1_bags_run(bags_.get(), &run));
    const array<float> expected = make_array<float>(count);
    std::copy_n(y_.get(), count, expected.get());
    fill_nan(y_.get(), count);
    run.unchecked = 1;
    check(ss1_bags_run(bags_.get(), &run));
    for (size_t i = 0; i < count; ++i)
        if (!std::isfinite(y_[i]) || y_[i] != expected[i])
            throw failure(format("WRONG RESULT: value %zu is %.9g with checks, %.9g without", i,
                                 static_cast<double>(expected[i]), static_cast<double>(y_[i])),
                          "nothing was measured; please report this with the command line and 'ss1 info --kernels'");
}

json bag_bench::measure(const sampling &rule) {
    check_result();
    size_t turns[3] = {0, sets_.size() / 3, 2 * sets_.size() / 3};
    const auto run = [&](size_t set, bool unchecked) {
        const ss1_bags_args given = arguments(set, unchecked);
        check(ss1_bags_run(bags_.get(), &given));
    };
    const std::function<void()> calls[] = {[&] { run(turns[0]++, false); }, [&] { run(turns[1]++, true); },
                                           [&] { gather(turns[2]++); }};
    const pinned one_core(shape_.threads);
    const std::vector<timing> timings = interleave(calls, rule);
    const std::vector<double> bags = sorted(timings[0].ns), gathers = sorted(timings[2].ns);
    std::vector<double> share, cost;
    for (size_t round = 0; round < bags.size(); ++round) {
        share.push_back(timings[2].ns[round] / timings[0].ns[round]);
        cost.push_back(timings[0].ns[round] / timings[1].ns[round] - 1);
    }
    const double bytes = static_cast<double>(shape_.total() * shape_.row_bytes());
    json row = {{"rows", shape_.rows},
                {"d", shape_.d},
                {"dtype", shape_.dtype},
                {"tables", shape_.tables},
                {"batch", shape_.batch},
                {"pooling", shape_.pooling},
                {"weighted", weights_ != nullptr},
                {"threads", shape_.threads},
                {"row_bytes", shape_.row_bytes()}};
    add_spread(row, "bags_ns", bags, 1);
    add_spread(row, "unchecked_ns", sorted(timings[1].ns), 1);
    add_spread(row, "gather_ns", gathers, 1);
    row["gigabytes_per_second"] = rounded(bytes / percentile(bags, 0.5), 3);
    row["gather_gigabytes_per_second"] = rounded(bytes / percentile(gathers, 0.5), 3);
    add_spread(row, "share_of_gather", sorted(share), 3);
    add_spread(row, "cost_of_checks", sorted(cost), 4);
    row["rounds"] = bags.size();
    return row;
}

const std::vector<column> columns = {{"rows", "rows", 1, 0, 9},
                                     {"d", "d"},
                                     {"dtype", "dtype"},
                                     {"tables", "tables"},
                                     {"batch", "batch"},
                                     {"pooling", "pooling"},
                                     {"threads", "threads"},
                                     {"bags_ns_median", "bags us", 1e-3, 1, 9},
                                     {"bags_ns_p10", "p10", 1e-3, 1, 9},
                                     {"bags_ns_p90", "p90", 1e-3, 1, 9},
                                     {"gigabytes_per_second", "GB/s", 1, 2},
                                     {"gather_gigabytes_per_second", "gather", 1, 2},
                                     {"share_of_gather_median", "share", 1, 3},
                                     {"cost_of_checks_median", "checks", 1, 4}};

std::vector<shape> parse(const bench_options &o) {
    constexpr size_t most = size_t{1} << 40;
    std::vector<shape> shapes;
    for (const size_t threads : parse_ranges("--threads", o.threads, 4096))
        for (const std::string &dtype : parse_names("--dtype", o.dtype)) {
            if (!formats.contains(dtype))
                throw failure("--dtype: '" + dtype + "' is no dtype of a table", "write f32, bf16, f16, int8 or int4");
            for (const size_t rows : parse_ranges("--rows", o.rows, most))
                for (const size_t d : parse_ranges("-d", o.d, 65536))
                    for (const size_t tables : parse_ranges("--tables", o.tables, 100'000))
                        for (const size_t batch : parse_ranges("--batch", o.batch, most))
                            for (const size_t pooling : parse_ranges("--pooling", o.pooling, most))
                                shapes.push_back(
                                    {rows, d, tables, batch, pooling, dtype, static_cast<uint32_t>(threads)});
        }
    return shapes;
}

void run_bench(const bench_options &options) {
    const std::vector<shape> shapes = parse(options);
    restart_with_pool_settings();
    json head = machine_info(context_info(make_context()));
    head["environment"] = pool_settings();
    report table(options.format, columns, head);
    progress line;
    for (const shape &s : shapes) {
        line.show(format("%zu rows of %zu %s, %zu tables, batch %zu, pooling %zu, %u threads", s.rows, s.d,
                         s.dtype.c_str(), s.tables, s.batch, s.pooling, s.threads));
        bag_bench bench(s, options.weighted);
        const json row = bench.measure(options.rule);
        line.clear();
        table.add(row);
    }
    table.finish();
}

}  // namespace

void add_bag(CLI::App &app) {
    const auto options = std::make_shared<bench_options>();
    bench_options &o = *options;
    CLI::App &command = *app.add_subcommand("bag", "Measure embedding bags against a plain gather of the same rows");
    command.add_option("--rows", o.rows, "Rows of each table")->capture_default_str();
    command.add_option("-d", o.d, "Values per row")->capture_default_str();
    command.add_option("--dtype", o.dtype, "f32, bf16, f16, int8, int4")->capture_default_str();
    command.add_option("--pooling", o.pooling, "Rows per bag")->capture_default_str();
    command.add_option("--batch", o.batch, "Bags per table")->capture_default_str();
    command.add_option("--tables", o.tables, "Number of tables")->capture_default_str();
    command.add_option("--threads", o.threads, "Threads of each contender")->capture_default_str();
    command.add_flag("--weighted", o.weighted, "Give each row of a bag a weight");
    add_sampling(command, o.rule, "samples of each contender", "all contenders of one shape");
    add_most_time(command, o.rule);
    add_output_format(command, o.format);
    command.footer(
        "Values are lists or ranges: 1,8 or 1-8 or 16-64+16 or 1-8*2; all combinations are measured. Each run draws\n"
        "other rows, evenly, from tables in huge pages. gather prefetches, loads and adds up the same rows in\n"
        "registers, without checks; its GB/s count whole rows. share: rate of the bags over gather's in the same\n"
        "round. checks: share of time that checks add to unchecked bags. One thread stays on one core.\n"
        "Example: ss1-bench bag --rows 4000000 -d 64,128 --dtype f32,int8 --pooling 1,80 --threads 1,2");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::bench
