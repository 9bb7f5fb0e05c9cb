/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file calibrate.h  What the linear layers of a model read: shown to a function of the caller, or collected as first
 * and second moments. Part of ss1.h, whose rules hold here.
 *
 *     ss1_calibration *calibration = NULL;
 *     ss1_calibration_create(model, &calibration);
 *     ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
 *     options.observe = ss1_calibration_observe;
 *     options.observe_user = calibration;
 *     ... ss1_session_create(), then any number of ss1_session_run() ...
 *     ss1_calibration_layer(calibration, "encoder.layer.0.output.dense", &statistics);
 */
#ifndef SS1_CALIBRATE_H
#define SS1_CALIBRATE_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Rows x [m, K] that a linear layer is about to read, as ss1_session_options.observe gets them. Valid, and unchanged,
 * until the function returns. Rows of padding are not among them; a BERT under a mask that is not ones, then zeros
 * computes all T tokens of that sequence and shows them.
 *   .first_layer, n_layers  The layers, numbered as by ss1_model_layer(): queries, keys and values that run as one
 *                           read the same rows and are three.
 *   .x_dtype  Type of x: f32, or bf16 between layers of an MLP with weights below f32.
 *   .ldx      Elements between rows, at least K.
 * @since 0.2
 */
typedef struct ss1_layer_rows {
    uint32_t struct_size;
    ss1_dtype x_dtype;
    size_t first_layer, n_layers;
    size_t m, K, ldx;
    const void *x;
} ss1_layer_rows;
#define SS1_LAYER_ROWS_INIT \
    { sizeof(ss1_layer_rows), (ss1_dtype)0, 0, 0, 0, 0, 0, 0 }

/**
 * Create a calibration without rows. It holds a reference to the model, and K * K + K sums in f64 for each layer that
 * has read rows: its memory does not grow with their number.
 * @param calibration  Receives the calibration; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL); SS1_ERROR_OUT_OF_MEMORY. @since 0.2
 */
SS1_API ss1_status ss1_calibration_create(ss1_model *model, ss1_calibration **calibration);

/** Destroy a calibration and set *calibration to NULL; accepts NULL and pointers to NULL. No session that observes with
 * it may run. @since 0.2 */
SS1_API void ss1_calibration_destroy(ss1_calibration **calibration);

/**
 * Add rows: an ss1_observe_fn for sessions of the calibration's model, or called directly. Products of rows are summed
 * in f32 over at most 1024 rows, then in f64; the sums have the same bits for any number of threads. An error (a value
 * that is not finite, no memory) is kept: ss1_calibration_layer() returns it, and later rows are ignored.
 * @param calibration  An ss1_calibration.
 * @note One thread at a time may use a calibration. @since 0.2
 */
SS1_API void ss1_calibration_observe(void *calibration, const ss1_layer_rows *rows);

/**
 * What a layer has read.
 *   .rows           Number of rows.
 *   .K              Inputs of the layer.
 *   .mean           Receives E[x], f32 [K]; owned by the caller; NULL if not wanted.
 *   .second_moment  Receives E[x^T x], f32 [K, K] without padding, as ss1_project() takes it; NULL if not wanted.
 * @since 0.2
 */
typedef struct ss1_layer_statistics {
    uint32_t struct_size;
    size_t rows, K;
    float *mean;
    float *second_moment;
} ss1_layer_statistics;
#define SS1_LAYER_STATISTICS_INIT \
    { sizeof(ss1_layer_statistics), 0, 0, 0, 0 }

/**
 * Read the statistics of a layer. Without rows, mean and second_moment are 0.
 * @param layer       Name as of ss1_model_layer().
 * @param statistics  .rows and .K are written, and what the two pointers point to.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL; no such layer; a row with a value that is not finite was observed,
 *         with layer and place in the message); SS1_ERROR_OUT_OF_MEMORY (when rows were added). @since 0.2
 */
SS1_API ss1_status ss1_calibration_layer(const ss1_calibration *calibration, const char *layer,
                                         ss1_layer_statistics *statistics);

/**
 * How far the second moments have moved since the last call: the largest ||C - C'|| / ||C|| over the layers (Frobenius
 * norm), C the second moment scaled to ones on its diagonal and C' the one before, scaled alike. Half the rows of a
 * long calibration suffice once a doubling of the rows moves it by little. The first call gives 1.
 * @param change  Receives the largest change.
 * @return SS1_OK; as ss1_calibration_layer(). @note Keeps a copy of the sums. @since 0.2
 */
SS1_API ss1_status ss1_calibration_change(ss1_calibration *calibration, double *change);

/**
 * A dense layer to fit, and where its parts go. All pointers are the caller's.
 *   .weight, .ldw   [N, K] f32, ldw >= K (0 = K), PyTorch's layout.
 *   .second_moment  [K, K] f32, E[x^T x] over rows that the layer reads, symmetric; NULL: the fit is to the weight.
 *   .mean           [K] f32, E[x]; NULL: the layer has no bias, or it is not corrected. Needs second_moment.
 *   .z, .ldz        [N, Kz] f32 out, ldz >= Kz (0 = Kz); NULL if desc has no tied part.
 *   .u, .v          [N, rank] and [rank, K] f32 out without gaps; NULL if rank is 0.
 *   .bias           [N] f32 out: what to add to the bias of the layer; NULL without mean.
 *   .error          Receives E|y - y'|^2 / E|y|^2 of the outputs before the activation (with a mean: over their
 *                   variance); NULL if not wanted.
 * @since 0.2
 */
typedef struct ss1_fit_args {
    uint32_t struct_size;
    const float *weight;
    size_t ldw;
    const float *second_moment;
    const float *mean;
    float *z;
    size_t ldz;
    float *u, *v;
    float *bias;
    double *error;
} ss1_fit_args;
#define SS1_FIT_ARGS_INIT \
    { sizeof(ss1_fit_args), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Fit the parts of a layer, W = T(Z) + V U, to the outputs of a dense one, in closed form. With C = second_moment, or
 * the covariance second_moment - mean^T mean:
 *   c >= 1 alone  as ss1_project() with C.
 *   rank alone    The best rank r for E|y - y'|^2: P_r P_r^T W with the first eigenvectors P_r of W C W^T, which is the
 *                 SVD of W C^(1/2) (Wang et al., "SVD-LLM", ICLR 2025).
 *   both          Four alternations of the two, each fitted to what the other leaves.
 * @param desc   As for ss1_layer_create(); the types do not matter.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (also moments that are not finite and positive semidefinite);
 *         SS1_ERROR_OUT_OF_MEMORY. Nothing is written on error.
 * @note Thread-safe, on the calling thread. Time O(N K^2 + min(N, K)^3), for a tied part as ss1_project(). @since 0.2
 */
SS1_API ss1_status ss1_linear_fit(const ss1_linear_desc *desc, const ss1_fit_args *args);

#ifdef __cplusplus
}
#endif

#endif
