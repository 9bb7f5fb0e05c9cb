// SPDX-License-Identifier: Apache-2.0
// What the stages of ss1_session_time_stages() compute, to hold their times against the machine's ceilings.
#pragma once
#include <string>
#include <vector>

#include "apps/bert_rows.hpp"
#include "apps/dlrm_rows.hpp"

namespace ss1::bench {

struct stage_work {
    double flops = 0;   // of products and sketches; 0: the stage has none, or they are not counted
    std::string dtype;  // of the unit that does them, as make_ceiling() takes it
};

// One for each stage of a run of these rows. Not counted: BERT's heads and DLRM's interaction.
std::vector<stage_work> work_of(const apps::model_handle &model, const apps::bert_rows &rows);
std::vector<stage_work> work_of(const apps::model_handle &model, const apps::dlrm_rows &rows);

}  // namespace ss1::bench
