// SPDX-License-Identifier: Apache-2.0
// ss1_model_expand(): the dense weight of one layer of a model directory.
#pragma once
#include "ss1/ss1.h"

namespace ss1 {

// `ldw` 0: K.
ss1_status expand_layer(const ss1_context &context, const char *directory, const ss1_model_options &load,
                        const char *layer, float *weight, size_t ldw);

}  // namespace ss1
