// SPDX-License-Identifier: Apache-2.0
// The stages of a model's run, whose times ss1_session_time_stages() reports, and the work in them, which `ss1-bench
// model` compares with the machine's ceilings. A new family adds one entry to the table in stages.cpp.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "apps/model_rows.hpp"
#include "driver/report.hpp"

namespace ss1::bench {

struct stage_work {
    double flops = 0;   // of products and sketches
    std::string dtype;  // type of the unit that computes them, for make_ceiling()
};
using work_by_stage = std::map<std::string, stage_work>;

struct staged_family {
    const char *name;  // ss1_model_info.family
    std::vector<size_t> usual_batches;
    // Stages whose work is counted. BERT's heads and DLRM's interaction are not.
    std::vector<std::string> counted;
    // The work of a run of these rows in each counted stage.
    work_by_stage (*work_of)(const apps::model_handle &model, const apps::model_rows &rows);
};

const staged_family &staged_family_of(const apps::model_handle &model);

// The names of the stages, in the order of ss1_session_time_stages().
std::vector<std::string> stages_of(const apps::model_handle &model);

// The columns of --stages: the stages' times, their share of the run, the counted stages' shares of the ceiling.
std::vector<column> stage_columns(const apps::model_handle &model);

}  // namespace ss1::bench
