// SPDX-License-Identifier: Apache-2.0
// The forms that a model's linear layers could get, with the error and the time of each.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/calibrate.hpp"
#include "apps/handles.hpp"

namespace ss1::cli {

struct candidate {
    ss1_linear_desc desc;  // of each layer of the group, with K and N; dense layers have c = 1
    double error;          // share of the energy of the group's outputs that is lost, on the calibration rows
    double us;             // time of the group for a number of rows; infinite if a run would expand it
};

// Layers that read the same rows, as queries, keys and values do, and are converted alike.
struct layer_group {
    std::string name;                   // of the layers, "a.{b,c}.d" if they are several
    std::vector<std::string> layers;    // in the order of execution
    size_t K = 0, N = 0;                // N of each layer
    std::vector<candidate> candidates;  // the first is the present form
    std::string reason;                 // why there are no others; "": there are
    double weight = 1;                  // of the errors, when forms are chosen
    bool is_timed = true;               // false for layers that run once a sequence: they do not count
};

struct candidate_rules {
    std::string directory;          // of the model
    ss1_model_options load;         // of the directory
    std::vector<ss1_dtype> dtypes;  // types of weights to try; empty: those that the layers have
    size_t min_rows = 0;            // that a layer must have read; 0: as many as it has inputs
    size_t threads = 1;             // that fit
};

// Called now and then on the calling thread with the number of groups that are done and of all; it may throw.
using progress_of_groups = std::function<void(size_t, size_t)>;

// Lists the groups of the model's layers with their candidates and errors; times are 0.
std::vector<layer_group> list_candidates(const apps::context_handle &context, const apps::model_handle &model,
                                         const apps::calibrated &calibration, const candidate_rules &rules,
                                         const progress_of_groups &each);

// Times all candidates in `context` on `rows` rows: those of equal layers once and in turn. `each` as above, of
// different layers.
void time_candidates(const apps::context_handle &context, size_t rows, std::vector<layer_group> &groups,
                     const progress_of_groups &each);

// "dense", "c=4", "rank 32", "c=8 + rank 16"; with the type of the weights, if it is not f32.
std::string form_name(const ss1_linear_desc &desc);

}  // namespace ss1::cli
