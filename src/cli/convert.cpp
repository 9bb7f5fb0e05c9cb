// SPDX-License-Identifier: Apache-2.0
// ss1 convert: writes a model directory again with some linear layers as SS1, in another type, or both.
#include <CLI/CLI.hpp>
#include <map>
#include <optional>

#include "apps/calibrate.hpp"
#include "apps/csv.hpp"
#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/interruption.hpp"
#include "apps/output.hpp"
#include "cli/choice.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "cli/ranges.hpp"
#include "cli/table.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct convert_options {
    model_source model;
    std::string output_directory, layers, scheme, from = "dense", block_n, tables, calibrate, rank, quality, label;
    std::optional<uint32_t> c;
    std::optional<double> budget;
    std::optional<size_t> rows;
    size_t min_rows = 0;
    bool sequential = false, effects = false;
    uint32_t seed = 0, block_k = 0, step = 0;
    csv_source csv;
};

size_t bytes_of(ss1_dtype weight_dtype) {
    return weight_dtype == SS1_DTYPE_I8 ? 1 : weight_dtype == SS1_DTYPE_BF16 ? 2 : 4;
}

uint32_t parse_block_n(const std::string &text) {
    if (text.empty()) return 0;
    if (text == "all") return SS1_BLOCK_N_ALL;
    const std::vector<size_t> values = parse_ranges("--block-n", text, UINT32_MAX - 1);
    if (values.size() != 1)
        throw failure("--block-n: '" + text + "' is not one number", "give a multiple of 16, or all");
    return static_cast<uint32_t>(values[0]);
}

// "32" is a rank, "25%" a share of the multiply-adds.
void parse_rank(const std::string &text, ss1_linear_desc &desc, ss1_convert_options &options) {
    if (text.empty()) return;
    if (text.back() != '%') {
        const std::vector<size_t> values = parse_ranges("--rank", text, UINT32_MAX);
        if (values.size() != 1 || values[0] == 0)
            throw failure("--rank: '" + text + "' is not one number above 0", "give a rank, or a share such as 25%");
        desc.rank = values[0];
        return;
    }
    float percent = 0;
    if (!parse_float(text.substr(0, text.size() - 1), percent) || percent <= 0 || percent >= 100)
        throw failure("--rank: '" + text + "' is not a share between 0% and 100%", "give a share such as 25%");
    options.share = static_cast<double>(percent) / 100;
}

const std::map<std::string, ss1_table_dtype> &table_dtypes() {
    static const std::map<std::string, ss1_table_dtype> names = {{"f32", SS1_TABLE_F32},
                                                                 {"bf16", SS1_TABLE_BF16},
                                                                 {"f16", SS1_TABLE_F16},
                                                                 {"int8", SS1_TABLE_INT8},
                                                                 {"int4", SS1_TABLE_INT4}};
    return names;
}

// Whether layers get a new form, not only new types.
bool reforms(const ss1_convert_options &options) {
    return options.desc->c >= 2 || options.desc->rank || options.share > 0;
}

// Fills `desc` and `load`, to which the result points.
ss1_convert_options to_library(const convert_options &options, ss1_linear_desc &desc, ss1_model_options &load) {
    ss1_convert_options result = SS1_CONVERT_OPTIONS_INIT;
    result.desc = &desc;
    result.load = &load;
    result.from = options.from == "ssl" ? SS1_CONVERT_FROM_SSL : SS1_CONVERT_FROM_DENSE;
    desc.weight_dtype = options.model.weight_dtype();
    result.tables = options.tables.empty() ? SS1_TABLE_DEFAULT : table_dtypes().at(options.tables);
    parse_rank(options.rank, desc, result);
    // --dtype or --tables without -c change the types alone.
    desc.c = options.c.value_or(!options.rank.empty() || result.tables ? 0 : desc.weight_dtype ? 1 : 4);
    if (!options.scheme.empty()) desc.scheme = parse_scheme(options.scheme);
    desc.seed = options.seed;
    desc.block_k = options.block_k;
    desc.block_n = parse_block_n(options.block_n);
    desc.step = options.step;
    result.min_rows = options.min_rows;
    result.layers = options.layers.empty() ? nullptr : options.layers.c_str();
    load = options.model.options();
    load.weight_dtype = SS1_DTYPE_DEFAULT;
    return result;
}

// What ss1_model_convert() reported.
struct converted_layers {
    std::map<std::string, double> errors;                      // of the layers with a new form
    std::vector<std::pair<std::string, std::string>> reasons;  // why layers kept theirs

    static void add(void *user, const ss1_converted_layer *layer) {
        auto &all = *static_cast<converted_layers *>(user);
        if (layer->reason)
            all.reasons.emplace_back(layer->name, layer->reason);
        else
            all.errors[layer->name] = layer->error;
    }
    std::string lines() const {
        std::string text;
        size_t unnamed = 0;
        for (const auto &[name, reason] : reasons) {
            const bool is_named = reason != "not named by layers";
            unnamed += !is_named;
            if (is_named) text += name + " keeps its form: " + reason + '\n';
        }
        return unnamed ? text + format("%zu layers that --layers leaves out keep their form\n", unnamed) : text;
    }
    // "2.1 % on average, 4.0 % at worst (top_l.2)".
    std::string losses() const {
        double sum = 0;
        auto worst = errors.begin();
        for (auto at = errors.begin(); at != errors.end(); ++at) {
            sum += at->second;
            if (at->second > worst->second) worst = at;
        }
        return format("%.2g %% on average, %.2g %% at worst (%s)", 100 * sum / static_cast<double>(errors.size()),
                      100 * worst->second, worst->first.c_str());
    }
};

// A table of the layers of the new model that are tied or below f32: bytes of their weights in dense f32 and in memory.
std::string summary(const model_handle &model, const std::string &directory, const converted_layers &converted) {
    std::vector<table_row> rows = {{"layer", "K", "N", "c", "rank", "scheme", "B_K", "B_N", "V", "dtype", "loss %",
                                    "dense f32 bytes", "bytes", "ratio"}};
    size_t before = 0, after = 0, tied = 0, low_rank = 0, below_f32 = 0;
    const ss1_model_info info = describe(model);
    const auto ratio = [](size_t a, size_t b) {
        return format("%.2f", static_cast<double>(a) / static_cast<double>(b));
    };
    const auto loss = [&](const std::string &name) {
        const auto found = converted.errors.find(name);
        return found == converted.errors.end() ? "-" : format("%.3g", 100 * found->second);
    };
    for (size_t i = 0; i < info.n_layers; ++i) {
        const ss1_model_layer_info layer = describe_layer(model, i);
        const ss1_linear_desc &desc = layer.layer.desc;
        if (desc.c == 1 && !desc.rank && desc.weight_dtype == SS1_DTYPE_F32) continue;
        tied += desc.c > 1;
        low_rank += desc.rank > 0;
        below_f32 += desc.weight_dtype != SS1_DTYPE_F32;
        const size_t dense = desc.K * desc.N * sizeof(float),
                     held = (layer.layer.stored_columns * desc.N + desc.rank * (desc.K + desc.N)) *
                            bytes_of(desc.weight_dtype);
        before += dense;
        after += held;
        const auto mapping = [&desc](uint32_t value) { return desc.c > 1 ? std::to_string(value) : "-"; };
        rows.push_back({layer.name, std::to_string(desc.K), std::to_string(desc.N), std::to_string(desc.c),
                        desc.rank ? std::to_string(desc.rank) : "-", scheme_name(desc), mapping(desc.block_k),
                        mapping(desc.block_n), mapping(desc.step), dtype_name(desc.weight_dtype), loss(layer.name),
                        std::to_string(dense), std::to_string(held), ratio(dense, held)});
    }
    std::string table;
    if (rows.size() > 1) {
        rows.push_back({"total", "", "", "", "", "", "", "", "", "", "", std::to_string(before), std::to_string(after),
                        ratio(before, after)});
        table = format_table(rows) + '\n';
    }
    return table + converted.lines() +
           format(
               "%s: %zu of %zu layers are SS1, %zu have a low-rank part, %zu in bf16 or int8, %zu parameters, %s in "
               "memory\n",
               directory.c_str(), tied, info.n_layers, low_rank, below_f32, info.parameters,
               human_bytes(info.weight_bytes).c_str());
}

void convert(const context_handle &context, const convert_options &options, ss1_convert_options &request) {
    const interruption signals;
    request.cancel = signals.flag();
    const ss1_status status =
        ss1_model_convert(context.get(), options.model.directory.c_str(), options.output_directory.c_str(), &request);
    if (status == SS1_OK) signals.obey("interrupted when the model was written\n");
    signals.obey("interrupted: nothing written\n");  // also if the call failed for another reason meanwhile
    check(status);
}

calibrated calibrate_source(const context_handle &context, const convert_options &options,
                            const ss1_model_options &load) {
    progress line;
    line.show("loading " + options.model.directory + " ...");
    const model_handle model = load_model(context, options.model.directory, load);
    const calibration_data data = {options.model.directory, options.calibrate, options.csv.options()};
    return calibrate(context, model, data, [&](size_t rows, const byte_input &) {
        if (line.due()) line.show(format("calibrating: %zu rows", rows));
    });
}

// What the conversion costs is never left unsaid.
void report_losses(const converted_layers &converted, const calibrated &calibration) {
    if (calibration.moments) {
        const std::string left_out =
            calibration.left_out ? format(", %zu left out", calibration.left_out) : std::string();
        std::fprintf(stderr, "calibrated with %zu rows%s%s: the new layers lose %s of their outputs' energy\n",
                     calibration.rows, left_out.c_str(), calibration.settled ? ", then the moments had settled" : "",
                     converted.losses().c_str());
    } else {
        std::fprintf(stderr,
                     "ss1: warning: without --calibrate the new layers follow the old weights, not what they read: on "
                     "inputs without correlation they lose %s of their outputs' energy. Such a model needs training "
                     "before use\n",
                     converted.losses().c_str());
    }
}

// "f32,int8" as types.
std::vector<ss1_dtype> parse_dtypes(const std::string &text) {
    std::vector<ss1_dtype> dtypes;
    if (text.empty()) return dtypes;
    for (const std::string &name : parse_names("--dtype", text)) {
        model_source one;
        one.dtype = name;
        dtypes.push_back(one.weight_dtype());
    }
    return dtypes;
}

// The converter finds the forms: options that say them are refused.
void run_choice(const convert_options &options) {
    if (options.budget && !options.quality.empty())
        throw failure("--budget and --quality exclude each other", "give the one that must hold");
    const std::pair<bool, const char *> fixed[] = {
        {options.c.has_value(), "-c"},           {!options.rank.empty(), "--rank"},
        {!options.layers.empty(), "--layers"},   {!options.scheme.empty(), "--scheme"},
        {options.from != "dense", "--from"},     {!options.tables.empty(), "--tables"},
        {options.seed != 0, "--seed"},           {options.block_k != 0, "--block-k"},
        {!options.block_n.empty(), "--block-n"}, {options.step != 0, "--step"}};
    for (const auto &[is_given, name] : fixed)
        if (is_given)
            throw failure(std::string(name) + " excludes --budget and --quality, which choose the form of each layer",
                          "leave it out, or say the form of all layers without them");
    choice_request request;
    request.model = options.model.directory;
    request.output = options.output_directory;
    request.rows_file = options.calibrate;
    request.csv = options.csv.options();
    request.label = options.label;
    request.budget = options.budget;
    request.goal = options.quality;
    request.dtypes = parse_dtypes(options.model.dtype);
    request.rows = options.rows.value_or(request.rows);
    request.min_rows = options.min_rows;
    request.sequential = options.sequential;
    request.effects = options.effects;
    request.load = model_source{{}, {}, options.model.random_seed}.options();
    convert_by_choice(request);
}

void run_convert(const convert_options &options) {
    if (options.csv.is_given() && options.calibrate.empty())
        throw failure("--delimiter and --missing need --calibrate, whose rows they are of", "leave them out");
    if (options.budget || !options.quality.empty()) return run_choice(options);
    const std::pair<bool, const char *> of_choice[] = {{!options.label.empty(), "--label"},
                                                       {options.rows.has_value(), "--rows"},
                                                       {options.sequential, "--sequential"},
                                                       {options.effects, "--effects"}};
    for (const auto &[is_given, name] : of_choice)
        if (is_given) throw failure(std::string(name) + " needs --budget or --quality", "leave it out");
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    ss1_model_options load = SS1_MODEL_OPTIONS_INIT;
    ss1_convert_options request = to_library(options, desc, load);
    converted_layers converted;
    if (reforms(request)) request.report = converted_layers::add;
    request.report_user = &converted;
    const context_handle context = make_context();
    calibrated calibration;
    if (!options.calibrate.empty()) {
        calibration = calibrate_source(context, options, load);
        request.calibration = calibration.moments.get();
    }
    {
        progress line;
        line.show("converting " + options.model.directory + " ...");
        convert(context, options, request);
    }
    if (reforms(request) && request.from == SS1_CONVERT_FROM_DENSE) report_losses(converted, calibration);
    try {
        output out;
        out.write(summary(load_model(context, options.output_directory, SS1_MODEL_OPTIONS_INIT),
                          options.output_directory, converted));
        out.close();
    } catch (const std::exception &error) {  // the model is complete: without its summary, the command has succeeded
        std::fprintf(stderr, "ss1: %s is written, but not summarised: %s\n", options.output_directory.c_str(),
                     error.what());
    }
}

// What lets the converter find the forms.
void add_choice_options(CLI::App &command, convert_options &options) {
    command.add_option("--budget", options.budget,
                       "Choose the form of each layer, dense among them: of those that together take at most this "
                       "share, as 0.25, of the time of the linear layers on this machine, those that lose least. Needs "
                       "--calibrate");
    not_empty(
        command.add_option("--quality", options.quality,
                           "Choose the fastest forms with which the model, on rows held out from --calibrate, keeps "
                           "kl=0.01 (nats to the original), agree=0.99 or, with --label, auc=-0.001"),
        "goal");
    at_least(1, command.add_option("--rows", options.rows,
                                   "With --budget or --quality: rows of the timed runs; default: 128"));
    not_empty(command.add_option("--label", options.label,
                                 "With --budget or --quality: column of --calibrate with the right answers; the report "
                                 "then has AUC and log loss, or the share of right answers"),
              "column");
    command.add_flag(
        "--sequential", options.sequential,
        "With --budget or --quality: fit each layer to what it reads behind the converted ones; takes a run "
        "of the calibration for each");
    command.add_flag(
        "--effects", options.effects,
        "With --budget or --quality: weigh the error of each layer by what it does to the model's answers; "
        "for each group of layers that read the same rows, this writes a model and runs it and the "
        "original on all calibration rows");
}

}  // namespace

void add_convert(CLI::App &app) {
    const auto options = std::make_shared<convert_options>();
    CLI::App &command = *app.add_subcommand(
        "convert", "Write a model again with some linear layers as SS1, or layers or tables in another type");
    command.add_option("MODEL", options->model.directory, "Model directory to read")->required();
    command.add_option("OUT", options->output_directory, "Model directory to write; must not hold a model")->required();
    at_least(1, command.add_option("-c,--compression", options->c,
                                   "Compression of the layers' weights; default: 4, or none with --dtype or --tables"));
    add_dtype(
        command, options->model,
        "Hold the layers' weights as f32, bf16 or int8 when the model runs; the file keeps its values. Default: the "
        "types of the source. With --budget or --quality: types to try, as f32,int8");
    command.add_option(
        "--rank", options->rank,
        "Rank of a low-rank part, beside the tied one with -c, else alone; or, as 25%, the share of the dense "
        "layer's multiply-adds that each layer may take");
    not_empty(command.add_option(
        "--calibrate", options->calibrate,
        "Fit the new layers to what the old ones compute on these rows: a CSV file as for ss1 run --input, or, for a "
        "BERT, a text of one line each (a file that does not end with .csv); a few hundred rows of real use"));
    add_csv_options(command, options->csv, "--calibrate");
    at_least(1, command.add_option("--min-rows", options->min_rows,
                                   "With --calibrate: rows that each layer must have read; default: as many as it has "
                                   "inputs"));
    add_choice_options(command, *options);
    command.add_option("--scheme", options->scheme, "mixed (default) or reference")
        ->check(CLI::IsMember({"mixed", "reference"}));
    command.add_option("--layers", options->layers,
                       "Comma separated names; * matches any characters, ! at the start excludes. Default: all layers "
                       "that are worth it: "
                       "large enough, run for each row or token, and faster tied than dense");
    command
        .add_option("--from", options->from, "Source weights: dense (are projected) or ssl (of the SS1 authors' code)")
        ->check(CLI::IsMember({"dense", "ssl"}))
        ->capture_default_str();
    command
        .add_option("--tables", options->tables, "New dtype of a DLRM's embedding tables: f32, bf16, f16, int8, int4")
        ->check(CLI::IsMember(table_dtypes()));
    command.add_option("--seed", options->seed, "Seed of the hash")->capture_default_str();
    command.add_option("--block-k", options->block_k, "B_K: 16, 32, 64, 128 or 256; default 64");
    command.add_option("--block-n", options->block_n, "B_N: a multiple of 16, or all; default: depends on N");
    command.add_option("--step", options->step, "V: a power of two that divides B_K; default 16 (reference: 8)");
    add_random_weights(command, options->model);
    command.footer(
        "Examples:\n"
        "  ss1 convert model model-c4 -c 4 --calibrate rows.csv\n"
        "  ss1 convert model model-c4 -c 4 --calibrate rows.tsv --delimiter tab --missing skip\n"
        "  ss1 convert bert bert-quarter --rank 25% --calibrate mails.txt\n"
        "  ss1 convert bert bert-fast --budget 0.25 --calibrate mails.txt\n"
        "  ss1 convert bert bert-int8 --quality kl=0.01 --dtype f32,int8 --calibrate mails.txt\n"
        "  ss1 convert model-c4 model-c4-int8 --dtype int8 --layers '!bot_l.0'\n"
        "  ss1 convert model model-int8 --tables int8");
    command.callback([options] { run_convert(*options); });
}

}  // namespace ss1::cli
