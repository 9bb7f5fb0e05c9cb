// SPDX-License-Identifier: Apache-2.0
#include "driver/report.hpp"

#include <CLI/CLI.hpp>

#include "apps/csv.hpp"
#include "apps/format.hpp"
#include "cli/table.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

std::string plain(const json &value) {
    if (value.is_null()) return "";
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string cell(const json &row, const column &c) {
    const json &value = row.at(c.key);
    if (value.is_null()) return "-";
    if (!value.is_number()) return plain(value);
    return format("%.*f", c.decimals, value.get<double>() * c.scale);
}

}  // namespace

report::report(std::string format, std::vector<column> columns, json machine)
    : format_(std::move(format)), columns_(std::move(columns)), machine_(std::move(machine)) {}

void report::add(const json &row) {
    if (format_ == "md") {
        add_markdown(row);
    } else if (format_ == "csv") {
        add_csv(row);
    } else if (format_ == "json") {
        // Writes the document's members, then the array of rows, which finish() closes.
        if (first_) {
            std::string head = machine_.dump(2);
            head.resize(head.rfind('\n'));
            out_.write(head + ",\n  \"results\": [");
        }
        out_.write((first_ ? "\n    " : ",\n    ") + row.dump());
    } else {
        json line = row;
        line.update(machine_);
        out_.write(line.dump() + '\n');
    }
    first_ = false;
    out_.flush();
}

void report::add_markdown(const json &row) {
    std::string line = "|", rule = "|";
    if (first_) {
        std::string machine;
        for (const auto &[key, value] : machine_.items())
            machine += (machine.empty() ? "" : ", ") + key + ": " + plain(value);
        for (const column &c : columns_) {
            const size_t width = std::max(c.width, c.title.size());
            const bool number = row.at(c.key).is_number();
            line += ' ' + (number ? std::string(width - c.title.size(), ' ') + c.title : pad(c.title, width)) + " |";
            rule += ' ' + std::string(width - 1, '-') + (number ? ":" : "-") + " |";
        }
        out_.write(machine + "\n\n" + line + '\n' + rule + '\n');
        line = "|";
    }
    for (const column &c : columns_) line += ' ' + pad(cell(row, c), std::max(c.width, c.title.size())) + " |";
    out_.write(line + '\n');
}

void report::add_csv(const json &row) {
    json all = row;
    all.update(machine_);
    std::string header, line;
    for (const auto &[key, value] : all.items()) {
        if (!header.empty()) {
            header += ',';
            line += ',';
        }
        header += csv_quote(key);
        line += csv_quote(plain(value));
    }
    out_.write(first_ ? header + '\n' + line + '\n' : line + '\n');
}

void report::finish() {
    if (format_ == "json") out_.write("\n  ]\n}\n");
    out_.close();
}

void add_output_format(CLI::App &command, std::string &format) {
    command.add_option("-o,--output-format", format, "md, csv, json or jsonl")
        ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
        ->capture_default_str();
}

void add_spread(json &row, const std::string &name, std::span<const double> sorted, int decimals) {
    row[name + "_median"] = rounded(percentile(sorted, 0.5), decimals);
    row[name + "_p10"] = rounded(percentile(sorted, 0.1), decimals);
    row[name + "_p90"] = rounded(percentile(sorted, 0.9), decimals);
}

}  // namespace ss1::bench
