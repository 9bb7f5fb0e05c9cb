// SPDX-License-Identifier: Apache-2.0
// Writes rows of measurements at once, as a Markdown table, CSV, one JSON document, or JSON lines.
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

// A column of the Markdown table. The other formats contain every member of a row.
struct column {
    std::string key, title;
    double scale = 1;  // factor of the shown value
    int decimals = 0;
    size_t width = 6;  // at least; later rows are unknown when the first is written
};

class report {
  public:
    // `format` is md, csv, json or jsonl. `machine` is written once per document; CSV and JSON lines
    // repeat it in each row.
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

// Adds -o, the format of a report.
void add_output_format(CLI::App &command, std::string &format);

// Adds NAME_median, NAME_p10 and NAME_p90 of sorted values.
void add_spread(json &row, const std::string &name, std::span<const double> sorted, int decimals);

}  // namespace ss1::bench
