// SPDX-License-Identifier: Apache-2.0
// ss1 inspect: shows the contents of a model directory and the cost of its layers.
#include <CLI/CLI.hpp>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "apps/output.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/table.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct inspect_options {
    model_source model;
    std::string format = "text";
};

json tensors_of(const model_handle &model, size_t count, ss1_status (*get)(const ss1_model *, size_t, ss1_tensor *)) {
    json list = json::array();
    for (size_t i = 0; i < count; ++i) {
        ss1_tensor tensor = SS1_TENSOR_INIT;
        check(get(model.get(), i, &tensor));
        list.push_back({{"name", tensor.name},
                        {"dtype", dtype_name(tensor.dtype)},
                        {"shape", std::vector<int64_t>(tensor.shape, tensor.shape + tensor.rank)}});
    }
    return list;
}

// The multiply-adds of the stored form beside those of the dense layer, K N.
double multiply_adds_share(const ss1_layer_info &layer) {
    const double K = static_cast<double>(layer.desc.K), N = static_cast<double>(layer.desc.N);
    const double kz = static_cast<double>(layer.stored_columns), rank = static_cast<double>(layer.desc.rank);
    return kz / K + rank * (K + N) / (K * N);
}

json layer_to_json(const ss1_model_layer_info &info) {
    const ss1_layer_info &layer = info.layer;
    const ss1_linear_desc &desc = layer.desc;
    json row = {{"name", info.name}, {"k", desc.K},       {"n", desc.N},
                {"c", desc.c},       {"rank", desc.rank}, {"scheme", scheme_name(desc)}};
    for (const char *key : {"seed", "block_k", "block_n", "step"}) row[key] = nullptr;
    if (desc.c > 1) {
        row["seed"] = desc.seed;
        row["block_k"] = desc.block_k;
        row["block_n"] = desc.block_n == SS1_BLOCK_N_ALL ? json("all") : json(desc.block_n);
        row["step"] = desc.step;
    }
    row["dtype"] = dtype_name(desc.weight_dtype);
    row["x_dtype"] = dtype_name(desc.x_dtype);
    row["y_dtype"] = dtype_name(desc.y_dtype);
    row["kernels"] = layer.kernels;
    row["weight_bytes"] = layer.weight_bytes;
    row["flops_per_row"] = layer.flops_per_row;
    row["flops_per_row_dense"] = layer.flops_per_row_dense;
    row["multiply_adds_share"] = multiply_adds_share(layer);
    return row;
}

// What a model of texts takes, and how its outputs are read.
void add_limits(const model_handle &model, const ss1_model_info &info, json &document) {
    if (info.n_labels) document["labels"] = labels_of(model);
    for (const auto &[name, value] : {std::pair{"max_tokens", info.max_tokens},
                                      {"vocab_size", info.vocab_size},
                                      {"type_vocab_size", info.type_vocab_size},
                                      {"embedding_size", info.embedding_size}})
        if (value) document[name] = value;
    if (info.similarity) document["similarity"] = info.similarity;
}

// The names and kinds of a DLRM's columns, in the order of config.json.
void add_columns(const std::string &config, json &document) {
    const json read = json::parse(config);
    document["features"] = read["dense_features"];
    if (read.contains("dense_means")) document["dense_means"] = read["dense_means"];
    json tables = json::array();
    for (const json &table : read["tables"]) {
        json &row = tables.emplace_back(json{{"name", table["name"]},
                                             {"rows", table["rows"]},
                                             {"dtype", table.value("dtype", "f32")},
                                             {"pooling", table.value("pooling", "sum")},
                                             {"side", table.value("side", "item")}});
        for (const char *key : {"vocabulary", "unknown", "hash"})
            if (table.contains(key)) row[key] = table[key];
    }
    document["tables"] = std::move(tables);
}

json model_to_json(const model_handle &model) {
    const ss1_model_info info = describe(model);
    json document = {{"family", info.family}, {"parameters", info.parameters}, {"weight_bytes", info.weight_bytes}};
    document["inputs"] = tensors_of(model, info.n_inputs, ss1_model_input);
    document["outputs"] = tensors_of(model, info.n_outputs, ss1_model_output);
    if (document["family"] == "dlrm") add_columns(info.config, document);
    add_limits(model, info, document);
    json layers = json::array();
    double done = 0, dense = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < info.n_layers; ++i) {
        const ss1_model_layer_info layer = describe_layer(model, i);
        layers.push_back(layer_to_json(layer));
        done += layer.layer.flops_per_row;
        dense += layer.layer.flops_per_row_dense;
        bytes += layer.layer.weight_bytes;
    }
    document["layers"] = std::move(layers);
    document["totals"] = {
        {"layers", info.n_layers}, {"weight_bytes", bytes}, {"flops_per_row", done}, {"flops_per_row_dense", dense}};
    return document;
}

std::string tensor_lines(const char *title, const json &tensors) {
    std::string text;
    for (const json &tensor : tensors) {
        std::string shape;
        for (const json &size : tensor["shape"])
            shape += (shape.empty() ? "" : ", ") + (size == -1 ? "?" : size.dump());
        text += format("%-11s %s %s [%s]\n", text.empty() ? title : "", tensor["name"].get<std::string>().c_str(),
                       tensor["dtype"].get<std::string>().c_str(), shape.c_str());
    }
    return text;
}

std::string number_or_dash(const json &value) {
    if (value.is_null()) return "-";
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string limit_lines(const json &document) {
    std::string text;
    if (document.contains("labels")) {
        text += format("%-11s", "labels");
        for (size_t i = 0; const json &label : document["labels"])
            text += format("%s %zu %s", i ? "," : "", i, label.get<std::string>().c_str()), ++i;
        text += '\n';
    }
    for (const auto &[name, title] : {std::pair{"max_tokens", "max tokens"},
                                      {"vocab_size", "vocabulary"},
                                      {"type_vocab_size", "token types"},
                                      {"embedding_size", "embedding"}})
        if (document.contains(name)) text += format("%-11s %s\n", title, document[name].dump().c_str());
    if (document.contains("similarity"))
        text += format("%-11s %s\n", "similarity", document["similarity"].get<std::string>().c_str());
    return text;
}

// What the ids of a table are: indices, lines of a file, or what a hash takes.
std::string ids_of(const json &table) {
    if (table.contains("hash")) return "hash " + table["hash"].get<std::string>();
    if (!table.contains("vocabulary")) return "indices";
    const std::string file = "vocabulary " + table["vocabulary"].get<std::string>();
    return table.contains("unknown") ? file + ", unknown in row " + table["unknown"].dump() : file;
}

std::string column_lines(const json &document) {
    if (!document.contains("tables")) return {};
    std::string text;
    for (size_t i = 0; const json &name : document["features"]) {
        const std::string mean =
            document.contains("dense_means") ? format(" (mean %s)", document["dense_means"][i].dump().c_str()) : "";
        text += format("%-11s %s%s\n", text.empty() ? "features" : "", name.get<std::string>().c_str(), mean.c_str());
        ++i;
    }
    std::vector<table_row> rows = {{"table", "rows", "dtype", "pooling", "side", "ids"}};
    for (const json &table : document["tables"])
        rows.push_back(
            {table["name"], table["rows"].dump(), table["dtype"], table["pooling"], table["side"], ids_of(table)});
    return text + '\n' + format_table(rows);
}

std::string model_to_text(const json &document) {
    const json &totals = document["totals"];
    std::string text =
        format("family      %s\nparameters  %zu\nmemory      %s\n", document["family"].get<std::string>().c_str(),
               document["parameters"].get<size_t>(), human_bytes(document["weight_bytes"]).c_str());
    text += tensor_lines("inputs", document["inputs"]) + tensor_lines("outputs", document["outputs"]) +
            limit_lines(document) + column_lines(document) + '\n';
    std::vector<table_row> rows = {{"layer", "K", "N", "c", "rank", "scheme", "seed", "B_K", "B_N", "V", "dtype",
                                    "bytes", "share", "FLOP/row", "dense", "kernels"}};
    for (const json &layer : document["layers"]) {
        table_row row;
        for (const char *key :
             {"name", "k", "n", "c", "rank", "scheme", "seed", "block_k", "block_n", "step", "dtype", "weight_bytes"})
            row.push_back(number_or_dash(layer[key]));
        row.push_back(format("%.1f %%", 100 * layer["multiply_adds_share"].get<double>()));
        row.push_back(format("%.0f", layer["flops_per_row"].get<double>()));
        row.push_back(format("%.0f", layer["flops_per_row_dense"].get<double>()));
        row.push_back(layer["kernels"]);
        rows.push_back(row);
    }
    const double done = totals["flops_per_row"], dense = totals["flops_per_row_dense"];
    rows.push_back({"total", "", "", "", "", "", "", "", "", "", "", totals["weight_bytes"].dump(), "",
                    format("%.0f", done), format("%.0f", dense),
                    format("%.2f times fewer FLOP than dense", done > 0 ? dense / done : 1)});
    return text + format_table(rows);
}

void run_inspect(const inspect_options &options) {
    const context_handle context = make_context();
    const json document = model_to_json(load_model(context, options.model.directory, options.model.options()));
    output out;
    out.write(options.format == "json" ? document.dump(2) + '\n' : model_to_text(document));
    out.close();
}

}  // namespace

void add_inspect(CLI::App &app) {
    const auto options = std::make_shared<inspect_options>();
    CLI::App &command = *app.add_subcommand(
        "inspect", "Show a model's inputs, outputs, columns, labels, limits and layers, and what the layers cost");
    command.add_option("MODEL", options->model.directory, "Model directory")->required();
    add_random_weights(command, options->model);
    add_dtype(command, options->model);
    command.add_option("-o,--output-format", options->format, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    command.footer("Example: ss1 inspect model-c4 -o json | jq '.layers[] | {name, c}'");
    command.callback([options] { run_inspect(*options); });
}

}  // namespace ss1::cli
