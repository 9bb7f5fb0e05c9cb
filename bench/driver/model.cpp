// SPDX-License-Identifier: Apache-2.0
// ss1-bench model: measures the latency of whole models. Several models take turns in one process, or each model serves
// an open loop.
#include <chrono>
#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <random>

#include "apps/bert_rows.hpp"
#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "apps/model_rows.hpp"
#include "apps/row_family.hpp"
#include "apps/text_rows.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "cli/ranges.hpp"
#include "driver/ceiling.hpp"
#include "driver/commands.hpp"
#include "driver/open_loop.hpp"
#include "driver/report.hpp"
#include "driver/sampler.hpp"
#include "driver/stages.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

constexpr size_t max_batch = size_t{1} << 20;

struct bench_options {
    std::vector<std::string> directories;
    model_source source;
    std::string batch, threads, dtypes, input, text, format = "md";
    csv_source csv;
    size_t tokens = 0;
    bool stages = false, one_user = false;
    sampling rule = {10, 1, 0};
    open_loop load;
};

struct loaded_model {
    std::string directory, dtype;  // dtype: the value of --dtype, empty without it
    model_handle handle;
    std::shared_ptr<const bert_rows> texts;  // the lines of --text in this model's tokens

    double mean_tokens() const {
        double sum = 0;
        for (size_t i = 0; i < texts->size(); ++i) sum += static_cast<double>(texts->tokens(i));
        return sum / static_cast<double>(texts->size());
    }
};

// Reads the lines of --text.
std::shared_ptr<const bert_rows> read_texts(const bench_options &options, const context_handle &context,
                                            const loaded_model &model) {
    const row_family &family = family_of(model.handle);
    if (!family.has_tokens)
        throw failure(std::string("--text is for BERT; these models are ") + family.title, "leave --text out");
    text_rows texts(context, model.handle, model.directory, options.tokens);
    text_lines lines(options.text, text_lines::kind::any_text);
    auto rows = std::make_shared<bert_rows>(describe(model.handle));
    while (texts.read(lines, 256, *rows)) {
    }
    if (rows->size() == 0) throw failure(options.text + " has no lines", "give a file with at least one text");
    return rows;
}

std::unique_ptr<model_rows> rows_for(const loaded_model &model) {
    return family_of(model.handle).make_rows(describe(model.handle));
}

ss1_session_options session_bounds(const loaded_model &model, const bench_options &options, size_t batch) {
    ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
    bounds.max_batch = batch;
    bounds.max_tokens = model.texts      ? model.texts->longest()
                        : options.tokens ? options.tokens
                                         : std::min<size_t>(128, rows_for(model)->max_tokens());
    return bounds;
}

// Reads the file again as often as it has too few rows.
void fill_from_file(model_rows &rows, const std::string &directory, const bench_options &options, size_t batch) {
    const std::string &path = options.input;
    while (rows.size() < batch) {
        const size_t before = rows.size();
        csv_reader reader(path, options.csv.options());
        rows.bind(reader, directory);
        while (rows.size() < batch && reader.next()) rows.add(reader);
        if (rows.size() == before)
            throw failure(
                path + " has no rows" +
                    (options.csv.options().missing == missing_value::skip ? " that --missing skip keeps" : ""),
                "give a file with at least one row");
    }
}

// Makes the rows of request `number`. Each request continues in the texts where the request before it ended.
std::unique_ptr<model_rows> make_request(const loaded_model &model, const bench_options &options, size_t batch,
                                         size_t tokens, size_t number, std::mt19937_64 &random) {
    if (model.texts) {
        auto rows = std::make_unique<bert_rows>(describe(model.handle));
        for (size_t i = 0; i < batch; ++i) rows->add(*model.texts, (number * batch + i) % model.texts->size());
        return rows;
    }
    std::unique_ptr<model_rows> rows = rows_for(model);
    if (options.input.empty())
        for (size_t i = 0; i < batch; ++i) rows->add_random(random, tokens);
    else
        fill_from_file(*rows, model.directory, options, batch);
    if (options.one_user) rows->share_user();
    return rows;
}

// The members that every row of the report has.
json describe_measured(const loaded_model &model, const ss1_session_options &bounds, uint32_t threads) {
    const row_family &family = family_of(model.handle);
    json row = {{"model", model.directory}, {"family", family.name}, {"batch", bounds.max_batch}};
    row["dtype"] = model.dtype.empty() ? json(nullptr) : json(model.dtype);
    row["tokens"] = !family.has_tokens ? json(nullptr)
                    : model.texts      ? json(rounded(model.mean_tokens(), 1))
                                       : json(bounds.max_tokens);
    row["threads"] = threads;
    return row;
}

void add_memory(json &row, const loaded_model &model, const ss1_session_options &bounds) {
    size_t session_bytes = 0;
    check(ss1_session_bytes(model.handle.get(), &bounds, &session_bytes));
    row["session_bytes"] = session_bytes;
    row["weight_bytes"] = describe(model.handle).weight_bytes;
}

// Requests of different rows or sizes take turns: 16 are enough for variety and few enough for the memory.
constexpr size_t n_requests = 16;

// One model with the requests and the session of one batch size.
struct contender {
    contender(const loaded_model &model, const bench_options &options, const ss1_session_options &bounds);
    void call();
    void add_stages(json &row, const std::map<std::string, double> &ceilings) const;

    std::mt19937_64 random;
    std::vector<std::unique_ptr<model_rows>> rows;
    std::vector<model_run> runs;  // point into `rows`
    row_output output;
    std::vector<float> values;
    size_t calls = 0;
    double seconds = 0;
    std::vector<std::string> stages;
    std::vector<double> stage_seconds;
    work_by_stage work;  // the mean of the requests
    session_handle session;
};

contender::contender(const loaded_model &model, const bench_options &options, const ss1_session_options &bounds)
    : random(bounds.max_batch),
      output(choose_output(model.handle)),
      values(bounds.max_batch * output.width),
      stages(stages_of(model.handle)),
      stage_seconds(stages.size()),
      session(make_session(model.handle, bounds)) {
    const size_t n = model.texts ? n_requests : 1;
    for (size_t i = 0; i < n; ++i) {
        rows.push_back(make_request(model, options, bounds.max_batch, bounds.max_tokens, i, random));
        runs.push_back(rows.back()->runs().front());
        for (const auto &[stage, of_request] : staged_family_of(model.handle).work_of(model.handle, *rows.back())) {
            work[stage].flops += of_request.flops / static_cast<double>(n);
            work[stage].dtype = of_request.dtype;
        }
    }
    if (options.stages) check(ss1_session_time_stages(session.get(), stage_seconds.data(), stage_seconds.size()));
}

void contender::call() {
    const model_run &run = runs[calls % runs.size()];
    ss1_tensor tensor = output.tensor(values.data(), run.rows.size());
    const auto start = std::chrono::steady_clock::now();
    check(ss1_session_run(session.get(), run.inputs.data(), run.inputs.size(), &tensor, 1));
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (calls++ > 0) return;
    std::ranges::fill(stage_seconds, 0);  // the first call does not count
    seconds = 0;
}

// Adds the stages' mean times, their share of the run, and the share of the ceiling (FLOP/ns by dtype) that each
// reaches.
void contender::add_stages(json &row, const std::map<std::string, double> &ceilings) const {
    double sum = 0;
    for (size_t i = 0; i < stages.size(); ++i) {
        const double ns = stage_seconds[i] * 1e9 / static_cast<double>(calls - 1);
        row["ns_" + stages[i]] = rounded(ns, 1);
        sum += stage_seconds[i];
        const auto done = work.find(stages[i]);
        if (done == work.end()) continue;
        const auto limit = ceilings.find(done->second.dtype);
        row["percent_of_ceiling_" + stages[i]] =
            limit == ceilings.end() ? json(nullptr) : json(rounded(100 * done->second.flops / ns / limit->second, 1));
    }
    row["stages_of_run"] = rounded(sum / seconds, 4);
}

using contender_list = std::vector<std::unique_ptr<contender>>;

// The ceilings of all types in which the contenders' stages compute. They are timed in the same rounds.
std::map<std::string, ceiling> ceilings_of(const contender_list &contenders, uint32_t threads) {
    std::map<std::string, ceiling> ceilings;
    for (const auto &c : contenders)
        for (const auto &[stage, work] : c->work)
            if (!ceilings.contains(work.dtype)) {
                ceiling limit = make_ceiling(work.dtype, threads);
                if (limit.run) ceilings.emplace(work.dtype, std::move(limit));
            }
    return ceilings;
}

json latency_row(const loaded_model &model, const ss1_session_options &bounds, uint32_t threads, const timing &times,
                 double first_p50) {
    const std::vector<double> ns = sorted(times.ns);
    const double p50 = percentile(ns, 0.5);
    json row = describe_measured(model, bounds, threads);
    row["ns_first"] = rounded(times.first_ns, 1);
    row["ns_p50"] = rounded(p50, 1);
    row["ns_p90"] = rounded(percentile(ns, 0.9), 1);
    row["ns_p99"] = rounded(percentile(ns, 0.99), 1);
    row["ns_mean"] = rounded(mean(ns), 1);
    json percentiles = json::array();  // 0 to 100, for a histogram
    for (int i = 0; i <= 100; ++i) percentiles.push_back(rounded(percentile(ns, i / 100.0), 1));
    row["ns_percentiles"] = std::move(percentiles);
    row["samples"] = ns.size();
    row["rows_per_s"] = rounded(static_cast<double>(bounds.max_batch) / p50 * 1e9, 1);
    row["speedup"] = rounded(first_p50 / p50, 3);
    add_memory(row, model, bounds);
    return row;
}

// Measures the models in turn and adds a row for each. speedup compares with the first model.
void measure(const bench_options &options, const std::vector<loaded_model> &models, size_t batch, uint32_t threads,
             report &table, progress &line) {
    contender_list contenders;
    std::vector<std::function<void()>> calls;
    for (const loaded_model &model : models) {
        contenders.push_back(std::make_unique<contender>(model, options, session_bounds(model, options, batch)));
        calls.emplace_back([c = contenders.back().get()] { c->call(); });
    }
    std::map<std::string, ceiling> ceilings;
    if (options.stages) ceilings = ceilings_of(contenders, threads);
    for (const auto &[dtype, limit] : ceilings) calls.push_back(limit.run);
    const std::vector<timing> timings = interleave(calls, options.rule);
    std::map<std::string, double> flops_per_ns;
    for (size_t i = models.size(); const auto &[dtype, limit] : ceilings)
        flops_per_ns[dtype] = limit.flops / percentile(sorted(timings[i++].ns), 0.5);
    const double first_p50 = percentile(sorted(timings[0].ns), 0.5);
    line.clear();
    for (size_t i = 0; i < models.size(); ++i) {
        json row = latency_row(models[i], session_bounds(models[i], options, batch), threads, timings[i], first_p50);
        if (options.stages) contenders[i]->add_stages(row, flops_per_ns);
        table.add(row);
    }
}

// Measures one model after the other: a given rate leaves nothing to interleave.
void serve(const bench_options &options, const std::vector<loaded_model> &models, size_t batch, uint32_t threads,
           report &table, progress &line) {
    const open_loop &load = options.load;
    const size_t least = load.least_batch ? load.least_batch : batch;
    if (least > batch)
        throw failure(format("--least-batch %zu is above --batch %zu", least, batch), "choose a smaller one");
    for (const loaded_model &model : models) {
        const ss1_session_options bounds = session_bounds(model, options, batch);
        std::mt19937_64 random(batch);
        std::vector<std::unique_ptr<model_rows>> rows;
        std::vector<model_run> requests;  // point into `rows`
        for (size_t i = 0; i < n_requests; ++i) {
            const size_t size = least + random() % (batch - least + 1);
            rows.push_back(make_request(model, options, size, bounds.max_tokens, i, random));
            requests.push_back(rows.back()->runs().front());
        }
        for (const size_t rate : parse_ranges("--rate", load.rates, 100'000'000)) {
            line.show(format("%s at %zu requests/s", model.directory.c_str(), rate));
            json row = describe_measured(model, bounds, threads);
            row["least_batch"] = least;
            row.update(measure_open_loop(model.handle, bounds, choose_output(model.handle), requests, load, rate));
            add_memory(row, model, bounds);
            line.clear();
            table.add(row);
        }
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

std::vector<loaded_model> load_all(const bench_options &options, const context_handle &context) {
    std::vector<loaded_model> models;
    const std::vector<std::string> dtypes =
        options.dtypes.empty() ? std::vector<std::string>{""} : parse_names("--dtype", options.dtypes);
    for (const std::string &directory : options.directories)
        for (const std::string &dtype : dtypes) {
            model_source source = options.source;
            source.dtype = dtype;
            models.push_back({directory, dtype, load_model(context, directory, source.options()), nullptr});
            if (std::string_view(describe(models.back().handle).family) != describe(models.front().handle).family)
                throw failure(directory + " is of another family than " + options.directories.front(),
                              "measure them in two commands");
            if (!options.text.empty()) models.back().texts = read_texts(options, context, models.back());
        }
    return models;
}

json document_head(const bench_options &options) {
    const context_handle context = make_context();
    json head = machine_info(context_info(context));
    head["inputs"] = !options.text.empty() ? options.text : options.input.empty() ? "random" : options.input;
    head["threads_pinned"] = false;
    return head;
}

void check_options(const bench_options &options) {
    if (options.csv.is_given() && options.input.empty())
        throw failure("--delimiter and --missing need --input, whose rows they are of", "leave them out");
    if (options.input == "-" || options.text == "-")
        throw failure((options.text.empty() ? "--input" : "--text") +
                          std::string(" -: the rows are read anew for each model and batch size"),
                      "give a file");
    if (!options.load.rates.empty() && options.stages)
        throw failure("--stages is not for an open loop", "leave --stages or --rate out");
}

void check_options_for(const bench_options &options, const row_family &family) {
    if (family.has_tokens && !options.input.empty())
        throw failure(std::string("--input is for DLRM; these models are ") + family.title, "leave --input out");
    if (!family.has_users && options.one_user)
        throw failure(std::string("--one-user is for DLRM; these models are ") + family.title, "leave it out");
}

std::vector<column> columns_of(const bench_options &options, const model_handle &model) {
    std::vector<column> shown = options.load.rates.empty() ? columns : open_loop_columns;
    if (options.stages) {
        const std::vector<column> stages = stage_columns(model);
        shown.insert(shown.end() - 1, stages.begin(), stages.end());  // before the model's name
    }
    return shown;
}

void run_bench(const bench_options &options) {
    const std::vector<size_t> chosen =
        options.batch.empty() ? std::vector<size_t>() : parse_ranges("--batch", options.batch, max_batch);
    const std::vector<size_t> thread_counts =
        options.threads.empty() ? std::vector<size_t>{0} : parse_ranges("--threads", options.threads, 4096);
    check_options(options);
    std::optional<report> table;  // its columns depend on the family
    progress line;
    for (const size_t threads : thread_counts) {
        const context_handle context = make_context(static_cast<uint32_t>(threads));
        line.show("loading ...");
        const std::vector<loaded_model> models = load_all(options, context);
        check_options_for(options, family_of(models[0].handle));
        if (!table) table.emplace(options.format, columns_of(options, models[0].handle), document_head(options));
        const uint32_t n_threads = context_info(context).num_threads;
        for (const size_t batch : chosen.empty() ? staged_family_of(models[0].handle).usual_batches : chosen) {
            line.show(format("batch %zu, %u threads", batch, n_threads));
            const auto run = options.load.rates.empty() ? measure : serve;
            run(options, models, batch, n_threads, *table, line);
        }
    }
    table->finish();
}

}  // namespace

void add_model(CLI::App &app) {
    const auto options = std::make_shared<bench_options>();
    bench_options &o = *options;
    CLI::App &command =
        *app.add_subcommand("model", "Measure the latency of models; several take turns in one process");
    command
        .add_option("MODEL", o.directories, "Model directories of one family; the others are compared with the first")
        ->required();
    command.add_option("--batch", o.batch, "Rows (BERT: sequences) of one run; default: 1,64,1024 (BERT: 1,8)");
    at_least(1, command.add_option("--tokens", o.tokens,
                                   "BERT: tokens of a sequence; default: 128, or the model's limit if that is lower"));
    command.add_option("--threads", o.threads, "Threads; default: all this process may use");
    add_random_weights(command, o.source);
    command.add_option("--dtype", o.dtypes,
                       "Hold the weights of every linear layer in these types, each a contender: f32, bf16, int8; "
                       "default: the types of config.json");
    command.add_option("--input", o.input,
                       "DLRM: CSV file with the rows to run, in the format of ss1 run; default: random rows");
    add_csv_options(command, o.csv, "--input");
    command.add_option("--text", o.text,
                       "BERT: text file, each line a text; requests of --batch lines take turns. --tokens cuts longer "
                       "texts; the column tokens shows the mean. Default: random tokens");
    command.add_flag("--one-user", o.one_user,
                     "DLRM: give all rows the dense features and the user's tables of the first row, once");
    command.add_flag(
        "--stages", o.stages,
        "Also report the mean times of a run's stages (DLRM: lookup, bottom MLP, interaction, top MLP; BERT: embed, "
        "QKV, attention, its output, intermediate, output, norms, heads), their share of the run, and the share of "
        "the machine's ceiling that products of matrices reach (the ceiling: a loop of the matrix or vector unit on "
        "registers, timed in the same rounds)");
    add_sampling(command, o.rule, "runs of each model", "a batch size");
    add_open_loop(command, o.load);
    add_output_format(command, o.format);
    command.footer(
        "Batch sizes, threads and rates are lists or ranges: 1,64 or 1-8 or 1-1024*4. rows/s and speedup come from\n"
        "the medians. In an open loop (--rate) latency begins at the scheduled arrival of a request. A request is\n"
        "dropped if it waits until its deadline, or if it has not begun after twice --duration. It is late if its\n"
        "run passes the deadline and is given up. Both count as infinitely slow in the percentiles. goodput counts\n"
        "the answers within the deadline.\n"
        "Examples:\n"
        "  ss1-bench model model model-c4 --batch 1,64 --threads 1\n"
        "  ss1-bench model model --input rows.csv --delimiter ';' --missing zero\n"
        "  ss1-bench model model --dtype f32,bf16,int8\n"
        "  ss1-bench model bert bert-c4 --text mails.txt --tokens 384 --batch 8\n"
        "  ss1-bench model model --batch 700 --threads 2 --workers 2 --rate 50-800*2 --deadline-ms 10");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::bench
