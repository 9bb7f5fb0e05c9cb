// SPDX-License-Identifier: Apache-2.0
// ss1 convert --budget and --quality: finds the form of each layer by error and time, and measures the model.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/candidates.hpp"
#include "cli/quality.hpp"

namespace ss1::cli {

struct choice_request {
    std::string model, output;
    ss1_model_options load;
    std::string rows_file;          // to calibrate with
    apps::csv_options csv;          // how to read it, if it is CSV
    std::string label;              // column of right answers; "": none
    std::optional<double> budget;   // share of the time of the linear layers, in (0, 1]
    std::string goal;               // "kl=0.01", "agree=0.99" or "auc=-0.001"; "" with a budget
    std::vector<ss1_dtype> dtypes;  // types of weights to try; empty: those that the layers have
    size_t rows = 128;              // of the timed runs
    size_t min_rows = 0;            // as ss1_convert_options
    bool sequential = false;
    bool effects = false;  // weigh the errors of layers by what they do to the model's answers
};

// A model that was tried.
struct trial {
    double budget = 1;
    std::vector<size_t> chosen;            // candidate of each group
    std::map<std::string, double> errors;  // of the new layers, as fitted
    quality measured;
};

// Everything that the report says.
struct choice {
    choice_request request;
    ss1_info machine;
    size_t calibrated_rows = 0;
    bool settled = false;
    std::vector<layer_group> groups;
    std::vector<trial> trials;  // in the order of the search
    size_t best = 0;            // index of the trial that was written

    double us_before() const;
    double us_after(const trial &of) const;
};

void convert_by_choice(const choice_request &request);

}  // namespace ss1::cli
