// SPDX-License-Identifier: Apache-2.0
// Runs a model on calibration data and collects the moments of what its layers read.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/handles.hpp"
#include "apps/row_source.hpp"

namespace ss1::apps {

// Layers that read the same rows and run as one, such as queries, keys and values.
struct read_group {
    size_t first_layer, n_layers, K;
    std::vector<float> rows;  // [., K] f32: up to `most_samples` of the rows that they read
};
inline constexpr size_t most_samples = 256;

struct calibrated {
    calibration_handle moments;
    size_t rows = 0;                 // that were run
    size_t left_out = 0;             // by --missing skip
    bool settled = false;            // before the end of the data
    std::vector<read_group> groups;  // in the order of execution
};

// The moments have settled when a doubling of the rows moves none of them by more than this, as
// ss1_calibration_change() measures.
inline constexpr double settled_change = 0.02;

struct calibration_data {
    std::string directory;  // of the model
    std::string path;       // of the rows
    csv_options csv = {};   // how to read them, if they are CSV
    row_subset subset = {};
    std::optional<size_t> only = {};  // collects the moments of the group with this first layer alone
};

// `each`, after each batch, gets the rows so far; it may end the calibration by throwing.
calibrated calibrate(const context_handle &context, const model_handle &model, const calibration_data &data,
                     const std::function<void(size_t, const byte_input &)> &each);

}  // namespace ss1::apps
