/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file convert.h  Conversion of weights and of model directories. Part of ss1.h, whose rules hold here.
 */
#ifndef SS1_CONVERT_H
#define SS1_CONVERT_H

#include "calibrate.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Project a dense weight onto the tied form. Without a second moment: Z[n,k] = mean of s * W over the c tied places
 * with their signs s, the least-squares fit to W. With a second moment S: the least-squares fit to the layer's output,
 * Z_j^T = (A_j^T S A_j)^-1 A_j^T S W_j^T for each output block j with its tying matrix A_j, after adding 1e-3 of the
 * mean diagonal of S to the diagonal.
 * @param desc    rank must be 0: only the tied part is projected.
 * @param weight  [N, K] f32, ldw >= K (0 = K), PyTorch's layout.
 * @param second_moment  [K, K] f32, E[x^T x] over calibration rows, symmetric; or NULL.
 * @param z       [N, Kz] f32 out, ldz >= Kz (0 = Kz). Must not overlap the inputs.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (also a second moment that is not finite, or not symmetric or positive
 * semidefinite: S + 1e-3 diag(S) must be definite); SS1_ERROR_OUT_OF_MEMORY.
 * @note Thread-safe. Time O(N K); with second_moment O(N K^2 + K^3 + (N / B_N) Kz^3). @since 0.1
 */
SS1_API ss1_status ss1_project(const ss1_linear_desc *desc, const float *weight, size_t ldw, const float *second_moment,
                               float *z, size_t ldz);

/**
 * Expand stored weights to the dense weight that they stand for. ss1_linear_expand() also takes layers with rank > 0.
 * @param desc    rank must be 0.
 * @param z       [N, Kz] f32, ldz >= Kz (0 = Kz).
 * @param weight  [N, K] f32 out, ldw >= K (0 = K): weight[n,k] = W[k,n] of the definition. Must not overlap z.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_OUT_OF_MEMORY.
 * @note Thread-safe. Time O(N K). @since 0.1
 */
SS1_API ss1_status ss1_expand(const ss1_linear_desc *desc, const float *z, size_t ldz, float *weight, size_t ldw);

/**
 * Expand all parts of a layer to the dense weight that they stand for, T(Z) + V U: the reference for all kernels. Sums
 * over the rank run in f64.
 * @param weights  As for ss1_layer_create(); the bias is ignored.
 * @param weight   [N, K] f32 out, ldw >= K (0 = K): weight[n,k] = W[k,n]. Must not overlap the inputs.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_UNSUPPORTED (dtype); SS1_ERROR_OUT_OF_MEMORY.
 * @note Thread-safe. Time O(N K (1 + rank)). @since 0.2
 */
SS1_API ss1_status ss1_linear_expand(const ss1_linear_desc *desc, const ss1_linear_weights *weights, float *weight,
                                     size_t ldw);

/** Source of the weights of the matched layers. @since 0.1 */
typedef enum ss1_convert_from SS1_ENUM_INT {
    SS1_CONVERT_FROM_DENSE = 0, /**< dense layers: project them (ss1_project() without second moment) */
    SS1_CONVERT_FROM_SSL = 1    /**< checkpoints of the SS1 authors: `weight` is Z; desc must describe its mapping */
} ss1_convert_from;

/**
 * What became of a linear layer.
 *   .name     Name of the layer; valid until the function returns, as is .reason.
 *   .reason   Why it keeps its form; NULL: it has a new one.
 *   .rows     Calibration rows that it has read; 0 without calibration.
 *   .error    Mean square of the difference of its outputs over the mean square of the outputs (with a calibration and
 *             a bias: over their variance), before the types of weights round; 0 if it keeps its form. Without
 *             calibration this holds for inputs of equal size without correlation.
 *   .desc     Form and types of the layer in the new directory.
 * @since 0.2
 */
typedef struct ss1_converted_layer {
    uint32_t struct_size;
    const char *name;
    const char *reason;
    size_t rows;
    double error;
    ss1_linear_desc desc;
} ss1_converted_layer;
#define SS1_CONVERTED_LAYER_INIT \
    { sizeof(ss1_converted_layer), 0, 0, 0, 0, SS1_LINEAR_DESC_INIT }

/** Gets each linear layer of the model once, on the thread of ss1_model_convert(): first those that keep their form,
 * then each other layer when its weights are written. @since 0.2 */
typedef void (*ss1_converted_layer_fn)(void *user, const ss1_converted_layer *layer);

/**
 * Says which form a linear layer gets. Called once for each, on the thread of ss1_model_convert(), before anything is
 * written.
 * @param layer  Its name, valid until the function returns.
 * @param desc   Arrives with K and N of the layer, all else 0. Set c, scheme, seed, block_k, block_n, step, rank and
 *               weight_dtype as in ss1_convert_options.desc; as it comes, the layer keeps its form.
 * @since 0.2
 */
typedef void (*ss1_layer_form_fn)(void *user, const char *layer, ss1_linear_desc *desc);

/**
 * Options of ss1_model_convert().
 *   .tables  New dtype of all embedding tables of a DLRM; 0 leaves them unchanged. int8 and int4 are quantised row by
 *            row like FBGEMM. Tables that are int8 or int4 already are an error, and so is a ROBE array. With tables
 *            set, c and weight_dtype of desc may both be 0: the layers stay unchanged.
 *   .desc    c, scheme, seed, block_k, block_n, step and weight_dtype of the matched layers; K, N and activation are
 *            the model's and must be 0. NULL: all 0.
 *            c >= 2 ties them; with a rank, or `share`, they get a low-rank part beside the tied one (c >= 2) or
 *            alone (c = 0). c = 0 or 1 without both leaves their mapping unchanged and writes weight_dtype alone,
 *            which must then be given; the other fields must be 0.
 *            weight_dtype: f32, bf16 or i8; 0 keeps the source's. ss1_model_convert() writes it to config.json, and
 *            ss1_model_load() applies it: the tensors in the file stay unchanged.
 *            FROM_SSL: scheme reference; c, seed, block_k and block_n must be given (the file does not have them).
 *   .layers  Names of linear layers, comma separated; * stands for any run of characters, '!' in front excludes. A
 *            pattern that matches no layer is an error. NULL, where layers get no new part or FROM_SSL: every layer
 *            that can have the form. NULL else: every layer that is worth it: K >= c * block_k and K >= 16,
 *            a run would not expand it again (see ss1_linear_desc), and it does not run once a sequence, as poolers
 *            and classifiers of texts do.
 *   .load    Options for reading the source, see ss1_model_load(); weight_dtype must be 0. NULL for defaults.
 *   .cancel  A number that another thread or a signal handler may set, or NULL: soon after it is no longer 0, the
 *            conversion ends with SS1_ERROR_CANCELLED and removes what it wrote. It must outlive the call.
 *   .calibration  What the layers of the source, loaded as a model, have read; NULL: none. Weights are then fitted to
 *            the outputs of the layers instead of to the dense weights, and biases corrected by the outputs' mean
 *            (ss1_linear_fit()). Only with FROM_DENSE and new parts.
 *   .min_rows  Rows that each converted layer must have read; 0: as many as it has inputs. With fewer rows a fit may
 *            follow their noise.
 *   .report, report_user  Gets each layer, or NULL.
 *   .share   In (0, 1), with desc.rank = 0: each layer gets the largest rank with which its multiply-adds are at most
 *            this share of the dense layer's, Kz / K + rank (K + N) / (K N) <= share. 0: desc.rank holds. With a
 *            calibration and c = 0, layers that read the same rows (queries, keys and values) get one V: it counts
 *            once, and they run as one layer.
 *   .form, form_user  Says the form of each layer, instead of desc, layers and share, which must then be NULL or 0;
 *            only with FROM_DENSE. If it leaves all layers unchanged, the model is written again.
 * @since 0.1
 */
typedef struct ss1_convert_options {
    uint32_t struct_size;
    ss1_convert_from from;
    ss1_table_dtype tables;
    const ss1_linear_desc *desc;
    const char *layers;
    const ss1_model_options *load;
    const int32_t *cancel;              /**< @since 0.2 */
    const ss1_calibration *calibration; /**< @since 0.2 */
    size_t min_rows;                    /**< @since 0.2 */
    ss1_converted_layer_fn report;      /**< @since 0.2 */
    void *report_user;                  /**< @since 0.2 */
    double share;                       /**< @since 0.2 */
    ss1_layer_form_fn form;             /**< @since 0.2 */
    void *form_user;                    /**< @since 0.2 */
} ss1_convert_options;
#define SS1_CONVERT_OPTIONS_INIT \
    { sizeof(ss1_convert_options), (ss1_convert_from)0, (ss1_table_dtype)0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Read a model directory and write another one with new mappings or weight types of the matched layers, or new table
 * types. Files appear atomically (temporary name, rename), config.json last: without it a folder is no model. `output`
 * is created and must not hold a model yet; what a killed conversion left there is removed. Files of the tokenizer
 * (vocab.txt, tokenizer.json and others, docs/format.md) are copied if they exist.
 * @param directory  Source, a path.
 * @param output     Destination, a path.
 * @param options    Not NULL.
 * @return as ss1_model_load(); SS1_ERROR_INVALID_ARGUMENT (pattern without a match, c * B_K > K for a layer named by
 *         `layers`; a calibration of another model, with bad or too few rows); SS1_ERROR_IO (output exists, cannot be
 *         written, or another conversion writes into it); SS1_ERROR_CANCELLED.
 * @note Thread-safe.
 * @since 0.1
 */
SS1_API ss1_status ss1_model_convert(ss1_context *context, const char *directory, const char *output,
                                     const ss1_convert_options *options);

/**
 * Read a linear layer of a model directory as the dense weight that it stands for, such as ss1_linear_fit() takes.
 * @param directory  A path.
 * @param load       Options for reading it, see ss1_model_load(), or NULL for defaults; weight_dtype does not matter.
 * @param layer      Name as of ss1_model_layer(), which also gives its N and K.
 * @param weight     [N, K] f32 out, ldw >= K (0 = K); owned by the caller.
 * @return as ss1_model_load(); SS1_ERROR_INVALID_ARGUMENT (NULL; no such layer; ldw).
 * @note Thread-safe. Reads the headers of the directory again and the tensors of this layer alone. @since 0.2
 */
SS1_API ss1_status ss1_model_expand(ss1_context *context, const char *directory, const ss1_model_options *load,
                                    const char *layer, float *weight, size_t ldw);

#ifdef __cplusplus
}
#endif

#endif
