// SPDX-License-Identifier: Apache-2.0
// Rows of measurements, written one by one as they come: a Markdown table, CSV, one JSON document, or JSON lines.
#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "output.hpp"
#include "ss1/ss1.h"

namespace CLI {
class App;
}

namespace ss1::cli {

using json = nlohmann::ordered_json;

// A column of the Markdown table; the other formats have every member of a row.
struct column {
    std::string key, title;
    double scale = 1;  // of the value shown
    int decimals = 0;
    size_t width = 6;  // at least; rows to come are unknown when the first is written
};

class report {
  public:
    // `format` is md, csv, json or jsonl. `machine` is told once per document, in CSV and JSON lines with each row.
    report(std::string format, std::vector<column> columns, json machine);

    void add(const json &row);
    void finish();

  private:
    void add_markdown(const json &row);
    void add_csv(const json &row);

    std::string format_;
    std::vector<column> columns_;
    json machine_;
    output out_;
    bool first_ = true;
};

// -o: what a report takes as its format.
void add_output_format(CLI::App &command, std::string &format);

// CPU, compiler and version: what a measurement depends on besides its own options.
json machine_info(const ss1_info &info);

// To so many decimals, so that files are not full of digits that mean nothing.
double rounded(double value, int decimals);

// NAME_median, NAME_p10 and NAME_p90 of sorted values.
void add_spread(json &row, const std::string &name, std::span<const double> sorted, int decimals);

}  // namespace ss1::cli
