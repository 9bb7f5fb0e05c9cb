/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file convert.h  Conversion of model directories. Part of ss1.h, whose rules hold here.
 */
#ifndef SS1_CONVERT_H
#define SS1_CONVERT_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Source of the weights of the matched layers. @since 0.1 */
typedef enum ss1_convert_from SS1_ENUM_INT {
    SS1_CONVERT_FROM_DENSE = 0, /**< dense layers: project them (ss1_project() without second moment) */
    SS1_CONVERT_FROM_SSL = 1    /**< checkpoints of the SS1 authors: `weight` is Z; desc must describe its mapping */
} ss1_convert_from;

/**
 * Options of ss1_model_convert().
 *   .tables  New dtype of all embedding tables of a DLRM; 0 leaves them unchanged. int8 and int4 are quantised row by
 *            row like FBGEMM. Tables that are int8 or int4 already are an error, and so is a ROBE array. With tables
 *            set, c and weight_dtype of desc may both be 0: the layers stay unchanged.
 *   .desc    c, scheme, seed, block_k, block_n, step and weight_dtype of the matched layers; K, N and activation are
 *            the model's and must be 0. NULL: all 0.
 *            c >= 2 ties them. c = 0 or 1 leaves their mapping unchanged and writes weight_dtype alone, which must
 *            then be given; the other fields must be 0.
 *            weight_dtype: f32, bf16 or i8; 0 keeps the source's. ss1_model_convert() writes it to config.json, and
 *            ss1_model_load() applies it: the tensors in the file stay unchanged.
 *            FROM_SSL: scheme reference; c, seed, block_k and block_n must be given (the file does not have them).
 *   .layers  Names of linear layers, comma separated; * stands for any run of characters, '!' in front excludes.
 *            NULL: every layer with c * block_k <= K; for c < 2 all. A pattern that matches no layer is an error.
 *   .load    Options for reading the source, see ss1_model_load(); weight_dtype must be 0. NULL for defaults.
 *   .cancel  A number that another thread or a signal handler may set, or NULL: soon after it is no longer 0, the
 *            conversion ends with SS1_ERROR_CANCELLED and removes what it wrote. It must outlive the call.
 * @since 0.1
 */
typedef struct ss1_convert_options {
    uint32_t struct_size;
    ss1_convert_from from;
    ss1_table_dtype tables;
    const ss1_linear_desc *desc;
    const char *layers;
    const ss1_model_options *load;
    const int32_t *cancel; /**< @since 0.2 */
} ss1_convert_options;
#define SS1_CONVERT_OPTIONS_INIT \
    { sizeof(ss1_convert_options), (ss1_convert_from)0, (ss1_table_dtype)0, 0, 0, 0, 0 }

/**
 * Read a model directory and write another one with new mappings or weight types of the matched layers, or new table
 * types. Files appear atomically (temporary name, rename), config.json last: without it a folder is no model. `output`
 * is created and must not hold a model yet; what a killed conversion left there is removed. Files of the tokenizer
 * (vocab.txt, tokenizer.json and others, src/io/README.md) are copied if they exist.
 * @param directory  Source, a path.
 * @param output     Destination, a path.
 * @param options    Not NULL.
 * @return as ss1_model_load(); SS1_ERROR_INVALID_ARGUMENT (pattern without a match, c * B_K > K for a layer named by
 *         `layers`); SS1_ERROR_IO (output exists or cannot be written); SS1_ERROR_CANCELLED.
 * @note Thread-safe for different outputs.
 * @since 0.1
 */
SS1_API ss1_status ss1_model_convert(ss1_context *context, const char *directory, const char *output,
                                     const ss1_convert_options *options);

#ifdef __cplusplus
}
#endif

#endif
