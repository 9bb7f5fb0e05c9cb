// SPDX-License-Identifier: Apache-2.0
// Backends: the CPU's is built in, others are plugins that a context loads.
#pragma once
#include "base/context.hpp"
#include "base/status.hpp"

namespace ss1 {

extern const ss1_backend cpu_backend;  // in op/linear.cpp

// Makes `name`, "cpu" (NULL is the same), a plugin or a plugin's path, the backend of the layers created from now on.
// On error nothing changes. Three failures have three messages: the file is missing, its ABI is another, the machine
// lacks the device.
ss1_status backend_use(ss1_context &context, const char *name);

// Calls a slot of a backend that may fail, and returns its status: with a message that names slot and backend if the
// slot gave none, and SS1_ERROR_BACKEND if it succeeded without its result. `made`: the result of a create slot.
template <class F>
ss1_status call_backend(const ss1_backend &backend, const char *slot, void *const *made, F &&call) {
    clear_error();
    const ss1_status status = call();
    if (status != SS1_OK) return *last_error() ? status : fail(status, "backend '%s': %s failed", backend.name, slot);
    SS1_CHECK(!made || *made, SS1_ERROR_BACKEND, "backend '%s': %s gave NULL", backend.name, slot);
    return SS1_OK;
}

}  // namespace ss1
