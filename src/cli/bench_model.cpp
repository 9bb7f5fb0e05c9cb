// SPDX-License-Identifier: Apache-2.0
// ss1 bench model: latency of whole models; several models take turns in one process.
#include <array>
#include <chrono>
#include <CLI/CLI.hpp>
#include <random>

#include "bert_rows.hpp"
#include "cli.hpp"
#include "dlrm_rows.hpp"
#include "model_rows.hpp"
#include "progress.hpp"
#include "ranges.hpp"
#include "report.hpp"
#include "sampler.hpp"
#include "stats.hpp"

namespace ss1::cli {
namespace {

constexpr size_t max_batch = size_t{1} << 20;

struct bench_options {
    std::vector<std::string> directories;
    model_source source;
    std::string batch, threads, dtypes, input, format = "md";
    size_t tokens = 0;
    bool stages = false, one_user = false;
    sampling rule = {10, 1, 0};
};

constexpr std::array stage_keys = {"ns_lookup", "ns_bottom", "ns_interaction", "ns_top"};

struct loaded_model {
    std::string directory, dtype;  // as --dtype says it, empty if it does not
    model_handle handle;
};

// One model with the rows and the session of one batch size.
template <class Rows>
struct contender {
    contender(const model_handle &model, const bench_options &options, size_t batch)
        : rows(nlohmann::json::parse(describe(model).config)),
          output(choose_output(model)),
          values(batch * output.width) {
        const size_t n_tokens = options.tokens ? options.tokens : std::min<size_t>(128, rows.max_tokens());
        std::mt19937_64 random(batch);
        if (options.input.empty())
            for (size_t i = 0; i < batch; ++i) rows.add_random(random, n_tokens);
        else
            fill_from_file(options.input, batch);
        ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
        bounds.max_batch = batch;
        bounds.max_tokens = n_tokens;
        check(ss1_session_bytes(model.get(), &bounds, &session_bytes));
        session = make_session(model, bounds);
        if constexpr (requires { rows.share_user(); })
            if (options.one_user) rows.share_user();
        if (options.stages) check(ss1_session_time_stages(session.get(), stage_seconds.data(), stage_seconds.size()));
        run = rows.runs().front();
        tokens = run.inputs[0].rank == 2 && std::string_view(run.inputs[0].name) == "input_ids" ? json(n_tokens)
                                                                                                : json(nullptr);
    }

    // A file with too few rows is read again.
    void fill_from_file(const std::string &path, size_t batch) {
        while (rows.size() < batch) {
            const size_t before = rows.size();
            csv_reader reader(path);
            rows.bind(reader);
            while (rows.size() < batch && reader.next()) rows.add(reader);
            if (rows.size() == before) throw failure(path + " has no rows", "give a file with at least one row");
        }
    }

    void call() {
        ss1_tensor tensor = output.tensor(values.data(), rows.size());
        const auto start = std::chrono::steady_clock::now();
        check(ss1_session_run(session.get(), run.inputs.data(), run.inputs.size(), &tensor, 1));
        seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (calls++ > 0) return;
        stage_seconds.fill(0);  // the first call is no measurement
        seconds = 0;
    }

    // Means, and how much of the run they are together.
    void add_stages(json &row) const {
        double sum = 0;
        for (size_t i = 0; i < stage_seconds.size(); ++i) {
            row[stage_keys[i]] = rounded(stage_seconds[i] * 1e9 / static_cast<double>(calls - 1), 1);
            sum += stage_seconds[i];
        }
        row["stages_of_run"] = rounded(sum / seconds, 4);
    }

    Rows rows;
    model_run run;
    row_output output;
    std::vector<float> values;
    json tokens;  // null for DLRM
    size_t session_bytes = 0, calls = 0;
    double seconds = 0;
    std::array<double, stage_keys.size()> stage_seconds{};
    session_handle session;
};

// Measures the models against each other and adds a row for each; speedup is over the first.
template <class Rows>
void measure(const bench_options &options, const std::vector<loaded_model> &models, size_t batch, uint32_t threads,
             report &table, progress &line) {
    std::vector<std::unique_ptr<contender<Rows>>> contenders;
    std::vector<std::function<void()>> calls;
    for (const loaded_model &model : models) {
        contenders.push_back(std::make_unique<contender<Rows>>(model.handle, options, batch));
        calls.emplace_back([c = contenders.back().get()] { c->call(); });
    }
    const std::vector<timing> timings = interleave(calls, options.rule);
    const double first_p50 = percentile(sorted(timings[0].ns), 0.5);
    line.clear();
    for (size_t i = 0; i < models.size(); ++i) {
        const std::vector<double> ns = sorted(timings[i].ns);
        const double p50 = percentile(ns, 0.5);
        const ss1_model_info info = describe(models[i].handle);
        json row = {{"model", models[i].directory}, {"family", info.family}, {"batch", batch}};
        row["dtype"] = models[i].dtype.empty() ? json(nullptr) : json(models[i].dtype);
        row["tokens"] = contenders[i]->tokens;
        row["threads"] = threads;
        row["ns_first"] = rounded(timings[i].first_ns, 1);
        row["ns_p50"] = rounded(p50, 1);
        row["ns_p90"] = rounded(percentile(ns, 0.9), 1);
        row["ns_p99"] = rounded(percentile(ns, 0.99), 1);
        row["ns_mean"] = rounded(mean(ns), 1);
        row["samples"] = ns.size();
        row["rows_per_s"] = rounded(static_cast<double>(batch) / p50 * 1e9, 1);
        row["speedup"] = rounded(first_p50 / p50, 3);
        row["session_bytes"] = contenders[i]->session_bytes;
        row["weight_bytes"] = info.weight_bytes;
        if (options.stages) contenders[i]->add_stages(row);
        table.add(row);
    }
}

const std::vector<column> columns = {{"batch", "batch"},
                                     {"tokens", "tokens"},
                                     {"threads", "threads"},
                                     {"dtype", "dtype"},
                                     {"ns_p50", "p50 us", 1e-3, 1, 9},
                                     {"ns_p90", "p90 us", 1e-3, 1, 9},
                                     {"ns_p99", "p99 us", 1e-3, 1, 9},
                                     {"ns_mean", "mean us", 1e-3, 1, 9},
                                     {"ns_first", "first us", 1e-3, 1, 9},
                                     {"rows_per_s", "rows/s", 1, 0, 9},
                                     {"speedup", "speedup", 1, 2},
                                     {"session_bytes", "session MiB", 1.0 / (1 << 20), 1},
                                     {"weight_bytes", "weights MiB", 1.0 / (1 << 20), 1},
                                     {"model", "model"}};

const std::vector<column> stage_columns = {{"ns_lookup", "lookup us", 1e-3, 1, 9},
                                           {"ns_bottom", "bottom us", 1e-3, 1, 9},
                                           {"ns_interaction", "inter. us", 1e-3, 1, 9},
                                           {"ns_top", "top us", 1e-3, 1, 9},
                                           {"stages_of_run", "of run", 1, 3}};

std::vector<loaded_model> load_all(const bench_options &options, const context_handle &context) {
    std::vector<loaded_model> models;
    const std::vector<std::string> dtypes =
        options.dtypes.empty() ? std::vector<std::string>{""} : parse_names("--dtype", options.dtypes);
    for (const std::string &directory : options.directories)
        for (const std::string &dtype : dtypes) {
            model_source source = options.source;
            source.dtype = dtype;
            models.push_back({directory, dtype, load_model(context, directory, source.options())});
            if (std::string_view(describe(models.back().handle).family) != describe(models.front().handle).family)
                throw failure(directory + " is of another family than " + options.directories.front(),
                              "measure them in two commands");
        }
    return models;
}

json document_head(const bench_options &options) {
    const context_handle context = make_context();
    json head = machine_info(context_info(context));
    head["inputs"] = options.input.empty() ? "random" : options.input;
    head["threads_pinned"] = false;
    return head;
}

void run_bench(const bench_options &options) {
    const std::vector<size_t> chosen =
        options.batch.empty() ? std::vector<size_t>() : parse_ranges("--batch", options.batch, max_batch);
    const std::vector<size_t> thread_counts =
        options.threads.empty() ? std::vector<size_t>{0} : parse_ranges("--threads", options.threads, 4096);
    std::vector<column> shown = columns;
    if (options.stages) shown.insert(shown.end() - 1, stage_columns.begin(), stage_columns.end());
    report table(options.format, shown, document_head(options));
    progress line;
    for (const size_t threads : thread_counts) {
        const context_handle context = make_context(static_cast<uint32_t>(threads));
        line.show("loading ...");
        const std::vector<loaded_model> models = load_all(options, context);
        const bool is_dlrm = std::string_view(describe(models[0].handle).family) == "dlrm";
        if (options.input == "-")
            throw failure("--input -: the rows are read anew for each model and batch size", "give a file");
        if (!is_dlrm && !options.input.empty())
            throw failure("--input is for DLRM; these models are BERT", "leave --input out");
        if (!is_dlrm && (options.stages || options.one_user))
            throw failure("--stages and --one-user are for DLRM; these models are BERT", "leave them out");
        const uint32_t n_threads = context_info(context).num_threads;
        const std::vector<size_t> usual = is_dlrm ? std::vector<size_t>{1, 64, 1024} : std::vector<size_t>{1, 8};
        for (const size_t batch : chosen.empty() ? usual : chosen) {
            line.show(format("batch %zu, %u threads", batch, n_threads));
            (is_dlrm ? measure<dlrm_rows> : measure<bert_rows>)(options, models, batch, n_threads, table, line);
        }
    }
    table.finish();
}

}  // namespace

void add_bench_model(CLI::App &bench) {
    const auto options = std::make_shared<bench_options>();
    bench_options &o = *options;
    CLI::App &command =
        *bench.add_subcommand("model", "Measure the latency of models; several take turns in one process");
    command
        .add_option("MODEL", o.directories,
                    "Model directories of one family; the first is what the others are compared with")
        ->required();
    command.add_option("--batch", o.batch, "Rows (BERT: sequences) of one run; default 1,64,1024 (BERT: 1,8)");
    command.add_option("--tokens", o.tokens, "BERT: tokens of a sequence; default 128 or the model's limit")
        ->check(CLI::PositiveNumber);
    command.add_option("--threads", o.threads, "Threads; default: all this process may use");
    add_random_weights(command, o.source);
    command.add_option("--dtype", o.dtypes,
                       "Types in which to hold the weights of every linear layer, a contender each: f32, bf16, int8; "
                       "default: as config.json says");
    command.add_option("--input", o.input, "DLRM: CSV file with the rows to run, as for ss1 run; default: random rows");
    command.add_flag("--one-user", o.one_user,
                     "DLRM: the first row's dense features and user's tables stand for all rows, and are given once");
    command.add_flag(
        "--stages", o.stages,
        "DLRM: also mean times of lookup, bottom MLP, interaction and top MLP, and their share of the run");
    add_sampling(command, o.rule, "runs of each model", "a batch size");
    add_output_format(command, o.format);
    command.footer(
        "Batch sizes and threads are lists or ranges: 1,64 or 1-8 or 1-1024*4. rows/s and speedup come from the "
        "medians.\n"
        "Examples:\n"
        "  ss1 bench model model model-c4 --batch 1,64 --threads 1\n"
        "  ss1 bench model model --dtype f32,bf16,int8");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::cli
