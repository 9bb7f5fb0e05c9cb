// SPDX-License-Identifier: Apache-2.0
// Measures a model under open-loop load: as at a service, requests arrive whether or not earlier ones are done.
#pragma once
#include <span>

#include "apps/model_rows.hpp"
#include "driver/report.hpp"

namespace ss1::bench {

struct open_loop {
    std::string rates;  // requests per second; empty: no open loop
    double seconds = 5;
    size_t workers = 1;
    double deadline_ms = 0;  // 0: none
    size_t least_batch = 0;  // 0: all requests have --batch rows
};

// Adds --rate and its options.
void add_open_loop(CLI::App &command, open_loop &load);

// Runs at `rate` and returns the measurement as members of a row.
json measure_open_loop(const apps::model_handle &model, const ss1_session_options &bounds,
                       const apps::row_output &output, std::span<const apps::model_run> requests, const open_loop &load,
                       size_t rate);

extern const std::vector<column> open_loop_columns;

}  // namespace ss1::bench
