// SPDX-License-Identifier: Apache-2.0
// The stages of a model's run, whose times ss1_session_time_stages() reports, and the work in them, which `ss1-bench
// model` compares with the machine's ceilings. A new family adds one entry to the table in stages.cpp.
#pragma once
#include <string>
#include <vector>

#include "apps/model_rows.hpp"
#include "driver/report.hpp"

namespace ss1::bench {

struct stage_work {
    double flops = 0;   // of products and sketches; 0: none, or not counted
    std::string dtype;  // type of the unit that computes them, for make_ceiling()
};

struct stage {
    std::string key;    // ns_KEY and percent_of_ceiling_KEY are members of a row
    std::string title;  // in tables
    bool counted;       // work_of() counts its work
};

struct staged_family {
    const char *name;  // ss1_model_info.family
    std::vector<size_t> usual_batches;
    std::vector<stage> stages;  // in the order of ss1_session_time_stages()
    // The work in each stage of a run of these rows. Not counted: BERT's heads and DLRM's interaction.
    std::vector<stage_work> (*work_of)(const apps::model_handle &model, const apps::model_rows &rows);
};

const staged_family &stages_of(const apps::model_handle &model);

// The columns of --stages: the stages' times, their share of the run, the counted stages' shares of the ceiling.
std::vector<column> stage_columns(const staged_family &family);

}  // namespace ss1::bench
