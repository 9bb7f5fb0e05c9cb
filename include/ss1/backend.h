/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file backend.h  Plugin ABI: what a backend library gives to ss1, and ss1 to it.
 *
 * A backend is a shared library libss1-<name>.so that exports ss1_backend_entry(). ss1_context_load_backend() loads it
 * and checks the ABI number before any other field. A plugin stays loaded until the process ends.
 */
#ifndef SS1_BACKEND_H
#define SS1_BACKEND_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SS1_BACKEND_ABI 2

/** What the core offers to a plugin; lives as long as the process. */
typedef struct ss1_backend_host {
    uint32_t abi;
    uint32_t struct_size;
    /** Set the message that ss1_last_error() will give on this thread; returns `status`. */
    ss1_status (*fail)(ss1_status status, const char *message);
} ss1_backend_host;

/**
 * One backend. All functions are thread-safe; the state of a layer is immutable after layer_create.
 *   score          0: not usable on this machine (then *reason says why, static storage), else higher is preferred.
 *   layer_create   `desc` has all defaults replaced and is valid, weights are finite, ldz > 0. Weights must be copied.
 *   layer_scratch  BYTES of scratch for m rows; never less for more rows, as a session asks for its largest batch only.
 *   layer_run      `args` is checked: sizes, strides and overlap hold, scratch is there, m > 0.
 *   layer_describe fills .kernels (owned by the state), .weight_bytes, .flops_per_row.
 */
typedef struct ss1_backend {
    uint32_t abi;
    uint32_t struct_size;
    const char *name;
    int (*score)(const char **reason);
    ss1_status (*layer_create)(const ss1_context *context, const ss1_linear_desc *desc,
                               const ss1_linear_weights *weights, void **state);
    size_t (*layer_scratch)(const void *state, size_t m);
    ss1_status (*layer_run)(const void *state, const ss1_linear_args *args);
    void (*layer_describe)(const void *state, ss1_layer_info *info);
    void (*layer_destroy)(void *state);
} ss1_backend;

/** The one symbol that a plugin exports. @return NULL if host->abi is not the plugin's. */
SS1_API const ss1_backend *ss1_backend_entry(const ss1_backend_host *host);

#ifdef __cplusplus
}
#endif

#endif
