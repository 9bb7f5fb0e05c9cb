// SPDX-License-Identifier: Apache-2.0
// A model under open-loop load: requests arrive whether or not earlier ones are done, as they do at a service.
#pragma once
#include <span>

#include "apps/model_rows.hpp"
#include "driver/report.hpp"

namespace ss1::bench {

struct open_loop {
    std::string rates;  // requests a second, empty: no open loop
    double seconds = 5;
    size_t workers = 1;
    double deadline_ms = 0;  // 0: none
    size_t least_batch = 0;  // 0: all requests have the batch of --batch
};

// --rate and what goes with it.
void add_open_loop(CLI::App &command, open_loop &load);

// What a run at `rate` measured, as members of a row.
json measure_open_loop(const apps::model_handle &model, const ss1_session_options &bounds,
                       const apps::row_output &output, std::span<const apps::model_run> requests, const open_loop &load,
                       size_t rate);

extern const std::vector<column> open_loop_columns;

}  // namespace ss1::bench
