// SPDX-License-Identifier: Apache-2.0
// Rows of measurements, written one by one as they come: a Markdown table, CSV, one JSON document, or JSON lines.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "apps/json.hpp"
#include "apps/output.hpp"

namespace CLI {
class App;
}

namespace ss1::bench {

using apps::json;

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
    apps::output out_;
    bool first_ = true;
};

// -o: what a report takes as its format.
void add_output_format(CLI::App &command, std::string &format);

// NAME_median, NAME_p10 and NAME_p90 of sorted values.
void add_spread(json &row, const std::string &name, std::span<const double> sorted, int decimals);

}  // namespace ss1::bench
