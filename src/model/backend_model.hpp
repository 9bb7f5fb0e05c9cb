// SPDX-License-Identifier: Apache-2.0
// Models that a backend runs whole, see backend.h: the plain data that it creates them from, and their runs.
#pragma once
#include "model/model.hpp"

namespace ss1 {

// Offers a prepared model to the context's backend: sets model.on_backend if the backend takes it. SS1_OK also where
// the backend leaves the model to the core.
ss1_status create_on_backend(ss1_context &context, const model_directory &from, ss1_model &model);

// Fills .weight_bytes and .parameters.
void describe_backend_model(const ss1_model &model, ss1_model_info &info) noexcept;

// Runs a session of model.on_backend; the backend writes the data of the outputs.
ss1_status run_on_backend(ss1_session &session, model_run &run);

}  // namespace ss1
