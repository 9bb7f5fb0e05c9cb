/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file memory.h  Models and tokenizers whose files lie in memory. Part of ss1.h, whose rules hold
 * here.
 */
#ifndef SS1_MEMORY_H
#define SS1_MEMORY_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One file of a model directory that lies in memory, see ss1_model_load_memory(). @since 0.2 */
typedef struct ss1_memory_file {
    uint32_t struct_size;
    const char *name; /**< path below the directory, e.g. "config.json" or "1_Pooling/config.json"; not "" */
    const void *data; /**< the file's contents; NULL only if bytes is 0 */
    size_t bytes;
} ss1_memory_file;
#define SS1_MEMORY_FILE_INIT \
    { sizeof(ss1_memory_file), 0, 0, 0 }

/**
 * Load a model directory whose files lie in memory, with the rules and checks of ss1_model_load(); no file of the disk
 * is read. Files that a model does not need are ignored. Messages name a file as files/NAME.
 * @param files    [n] the files, in any order, each name once. The model copies them, and the caller may free them
 *                 afterwards; but with map_tables the tables of a DLRM stay in the caller's buffers, which must then
 *                 live, unchanged, as long as the model, and place each table at a multiple of its element size.
 * @param n        At least 1.
 * @param options  NULL for defaults.
 * @param model    Receives the model; the caller owns one reference. Not written on error.
 * @return As ss1_model_load(); SS1_ERROR_IO for a file that is not among `files`. @since 0.2
 */
SS1_API ss1_status ss1_model_load_memory(ss1_context *context, const ss1_memory_file *files, size_t n,
                                         const ss1_model_options *options, ss1_model **model);

/**
 * Load the tokenizer of a model directory whose files lie in memory, with the rules and checks of ss1_tokenizer_load().
 * @param files      [n] as for ss1_model_load_memory(); the tokenizer copies what it needs.
 * @param tokenizer  Receives the tokenizer; the caller owns it. Not written on error.
 * @return As ss1_tokenizer_load(); SS1_ERROR_IO for a file that is not among `files`. @since 0.2
 */
SS1_API ss1_status ss1_tokenizer_load_memory(ss1_context *context, const ss1_memory_file *files, size_t n,
                                             ss1_tokenizer **tokenizer);

#ifdef __cplusplus
}
#endif

#endif
