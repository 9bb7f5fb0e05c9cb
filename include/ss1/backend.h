/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file backend.h  Plugin ABI: what a backend library gives to ss1, and ss1 to it.
 *
 * A backend is a shared library libss1-<name>.so that exports ss1_backend_entry(). ss1_context_load_backend() loads it
 * and checks the ABI number before any other field. A plugin stays loaded until the process ends. It gets everything
 * that it needs from the host table and links nothing of libss1: it works where libss1 was opened with RTLD_LOCAL.
 */
#ifndef SS1_BACKEND_H
#define SS1_BACKEND_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SS1_BACKEND_ABI 4

/** What the core offers to a plugin; lives as long as the process. All functions are thread-safe. @since 0.1 */
typedef struct ss1_backend_host {
    uint32_t abi;
    uint32_t struct_size;
    /** Sets the message that ss1_last_error() gives on this thread; returns `status`. */
    ss1_status (*fail)(ss1_status status, const char *message);
    /** ss1_get_info(): threads, device number and all else that the context decided. */
    ss1_status (*get_info)(const ss1_context *context, ss1_info *info);
    /** Hands a line of text to the log function of the context, if `level` is among those that it wants. */
    void (*log)(const ss1_context *context, ss1_log_level level, const char *message);
    /** Runs task(arg, i) once for each i in [0, n) on the threads of the context. */
    void (*parallel_for)(const ss1_context *context, size_t n, void (*task)(void *arg, size_t i), void *arg);
} ss1_backend_host;

/** One tensor of a model. @since 0.2 */
typedef struct ss1_tensor_spec {
    const char *name;    /**< canonical, see docs/format.md */
    const char *layer;   /**< its linear layer; "" where it belongs to none */
    ss1_dtype dtype;     /**< what read_tensor() gives: f32, or u8 for the rows of int8 and int4 tables */
    uint32_t rank;       /**< at most 8 */
    const size_t *shape; /**< [rank] */
} ss1_tensor_spec;

/** One linear layer of a model, in the order of execution. @since 0.2 */
typedef struct ss1_layer_spec {
    const char *name;
    int32_t has_bias;
    ss1_linear_desc desc; /**< resolved; the family decides the types of x and y and the activation */
} ss1_layer_spec;

/**
 * A model as plain data. Valid only during model_create(). Optional tensors that the files lack are not listed.
 * @since 0.2
 */
typedef struct ss1_model_spec {
    const char *family; /**< "dlrm" or "bert" */
    const char *config; /**< config.json as it was read */
    size_t n_layers, n_tensors, n_inputs, n_outputs;
    const ss1_layer_spec *layers;
    const ss1_tensor_spec *tensors;
    const ss1_tensor *inputs, *outputs; /**< as ss1_model_input() and ss1_model_output() describe them */
    /** Reads tensors[i] whole: to[product of its shape] of its dtype, every f32 finite. */
    ss1_status (*read_tensor)(const struct ss1_model_spec *spec, size_t i, void *to);
    const void *core; /**< for read_tensor() */
} ss1_model_spec;

/**
 * One run of a session. Names, dtypes, ranks, fixed sizes, bytes, the bounds of the session, overlap and the room of
 * the outputs are checked; the VALUES of indices and ids are not. The core sets rank and shape of outputs afterwards.
 * @since 0.2
 */
typedef struct ss1_model_run {
    size_t batch, tokens;            /**< what replaces the sizes that vary; tokens is 1 for DLRM; both above 0 */
    const ss1_tensor *const *inputs; /**< [n_inputs]; NULL where an optional one is missing */
    ss1_tensor *const *outputs;      /**< [n_outputs]; NULL where nobody wants it */
    /** Nonzero once the run is cancelled or late. The plugin asks between its segments, and then returns SS1_OK. */
    int (*given_up)(const void *control);
    const void *control;
} ss1_model_run;

/**
 * One backend. All functions are thread-safe. The states of layers and models are immutable once created. The core asks
 * for capabilities and compares no names: an optional slot may be NULL, and the core then works in its own way.
 *
 * Required:
 *   score           0: not usable on this machine (then *reason says why, static storage), else higher is preferred.
 *   supports        Whether layer_create() takes `parts` layers of `desc` (resolved) as one, and whether layer_run()
 *                   adds a residual if `residual` is 1. 0: no, then *reason says why (static storage).
 *   layer_create    `desc` is that of one part: resolved and supported. z [parts * N, Kz], bias [parts * N] and u
 *                   [parts * N, rank] are stacked along N, v [rank, K] is that of all parts; finite, ldz > 0 where Kz
 *                   is. They must be copied. Each part gives the bits that it would give alone.
 *   layer_scratch   BYTES of scratch for m rows; never less for more rows: a session asks for its largest batch only.
 *   layer_run       `args` is checked: sizes, strides and overlap hold, scratch is there, m > 0.
 *   layer_describe  fills .kernels (owned by the state), .weight_bytes, .flops_per_row.
 *
 * Optional, all three or none: rows, for callers that take a block of rows through several layers on one thread.
 *   rows_scratch    BYTES of scratch of one thread for `rows` rows; grows with them, up to a bound.
 *   rows_ns         About how many ns m rows take on one thread; at most 2^50. Whole numbers that do not depend on the
 *                   caller's rounding mode, as sizes of scratch depend on them.
 *   rows_run        The args->m rows of args on the calling thread, which cannot fail. in_groups: x may be read up to
 *                   the next multiple of 16 rows. The bits are those of layer_run.
 *
 * Optional, all of them or none: whole models on the device. Layer by layer is the core's own way.
 *   model_create    SS1_ERROR_UNSUPPORTED: the core runs this model layer by layer. Any other failure is the caller's.
 *   model_describe  fills .weight_bytes, the memory that the model holds, and .parameters.
 *   model_layer     layer_describe() of layer i of the spec.
 *   session_bytes   BYTES that session_create() takes for runs within these bounds; SIZE_MAX where they overflow.
 *   session_create  A session within these bounds; its model outlives it.
 *   session_run     One run; one caller at a time. It writes the data of the outputs that are not NULL. After a run
 *                   that failed, was cancelled or was late their contents are undefined.
 * A create slot that succeeds gives a result that is not NULL; after a failure the core does not read the result.
 * @since 0.1
 */
typedef struct ss1_backend {
    uint32_t abi;
    uint32_t struct_size;
    const char *name;
    int (*score)(const char **reason);
    int (*supports)(const ss1_linear_desc *desc, int residual, size_t parts, const char **reason);
    ss1_status (*layer_create)(const ss1_context *context, const ss1_linear_desc *desc, size_t parts,
                               const ss1_linear_weights *weights, void **state);
    size_t (*layer_scratch)(const void *state, size_t m);
    ss1_status (*layer_run)(const void *state, const ss1_linear_args *args);
    void (*layer_describe)(const void *state, ss1_layer_info *info);
    void (*layer_destroy)(void *state);

    size_t (*rows_scratch)(const void *state, size_t rows);
    uint64_t (*rows_ns)(const void *state, size_t m);
    void (*rows_run)(const void *state, const ss1_linear_args *args, int in_groups);

    ss1_status (*model_create)(const ss1_context *context, const ss1_model_spec *spec, void **model);
    void (*model_describe)(const void *model, ss1_model_info *info);
    void (*model_layer)(const void *model, size_t i, ss1_layer_info *info);
    void (*model_destroy)(void *model);
    size_t (*session_bytes)(const void *model, size_t max_batch, size_t max_tokens);
    ss1_status (*session_create)(const void *model, size_t max_batch, size_t max_tokens, void **session);
    ss1_status (*session_run)(void *session, const ss1_model_run *run);
    void (*session_destroy)(void *session);
} ss1_backend;

/** The one symbol that a plugin exports. @return NULL if host->abi is not the plugin's. @since 0.1 */
SS1_API const ss1_backend *ss1_backend_entry(const ss1_backend_host *host);

#ifdef __cplusplus
}
#endif

#endif
