// SPDX-License-Identifier: Apache-2.0
// Linear layers on the device: the layer slots of ss1_backend.
#pragma once
#include "kernels.hpp"
#include "ss1/backend.h"

namespace ss1::cuda {

int layer_supports(const ss1_linear_desc *desc, int residual, size_t parts, const char **reason) noexcept;
ss1_status layer_create(const ss1_context *context, const ss1_linear_desc *desc, size_t parts,
                        const ss1_linear_weights *weights, void **state) noexcept;
size_t layer_scratch(const void *state, size_t m) noexcept;
ss1_status layer_run(const void *state, const ss1_linear_args *args) noexcept;
void layer_describe(const void *state, ss1_layer_info *info) noexcept;
void layer_destroy(void *state) noexcept;

// Whether a kernel may read a pointer where it is, and the host may not.
bool on_device(const void *pointer);

// What x of a run inside of a model is.
struct made_x {
    bool sketched = false;  // by sketch_of(): ldx is its columns
    // x holds values to which the layer still applies f. Only a layer with a sketch_of() can.
    activation f = activation::none;
};

// For layers inside of a model: x and y are device memory, there is no residual, and args.scratch has device_scratch()
// BYTES of device memory, at a multiple of 256. run_on_device() only queues work: it may be captured into a graph.
size_t device_scratch(const void *state, size_t m);
ss1_status run_on_device(const void *state, const ss1_linear_args &args, const made_x &x);

// The sketch that the kernel which makes x of a layer of bf16 can make instead.
sketch_form sketch_of(const void *state);

}  // namespace ss1::cuda
