// SPDX-License-Identifier: Apache-2.0
// Backends: the CPU's is built in, others are plugins that a context loads.
#pragma once
#include <vector>

#include "base/context.hpp"

namespace ss1 {

extern const ss1_backend cpu_backend;  // in op/linear.cpp

// Makes `name`, "cpu" (NULL is the same), a plugin or a plugin's path, the backend of the layers created from now on.
// On error nothing changes. Three failures have three messages: the file is missing, its ABI is another, the machine
// lacks the device.
ss1_status backend_use(ss1_context &context, const char *name);

}  // namespace ss1
