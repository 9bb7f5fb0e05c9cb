// SPDX-License-Identifier: Apache-2.0
// Runs a model on calibration data and collects the moments of what its layers read.
#pragma once
#include <functional>
#include <string>

#include "apps/handles.hpp"
#include "apps/row_source.hpp"

namespace ss1::apps {

struct calibrated {
    calibration_handle moments;
    size_t rows = 0;       // that were run
    bool settled = false;  // before the end of the data
};

// The moments have settled when a doubling of the rows moves none of them by more than this, as
// ss1_calibration_change() measures.
inline constexpr double settled_change = 0.02;

// `each`, after each batch, gets the rows so far; it may end the calibration by throwing.
calibrated calibrate(const context_handle &context, const model_handle &model, const std::string &directory,
                     const std::string &path, const std::function<void(size_t, const byte_input &)> &each);

}  // namespace ss1::apps
