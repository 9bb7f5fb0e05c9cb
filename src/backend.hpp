// SPDX-License-Identifier: Apache-2.0
// Backends: the CPU's is built in, others are plugins that a context loads.
#pragma once
#include <vector>

#include "context.hpp"

namespace ss1 {

extern const ss1_backend cpu_backend;  // src/op/linear.cpp

// Loads the plugin `name` (or a path). Three failures, three messages: the file is missing, its ABI is another, the
// machine lacks the device.
ss1_status backend_load(const ss1_context &context, const char *name, const ss1_backend *&backend);

// The backends that this build knows, with what stands in the way of each.
std::vector<info_text> backend_survey(const ss1_backend &used);

}  // namespace ss1
