/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file bags.h  Embedding tables: bags, which are sums of their rows, and new rows for a running model. Part of ss1.h,
 * whose rules hold here.
 */
#ifndef SS1_BAGS_H
#define SS1_BAGS_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How a bag combines its rows. A mean divides by the number of indices of the bag, whatever the weights. @since 0.1 */
typedef enum ss1_pooling SS1_ENUM_INT { SS1_POOLING_SUM = 0, SS1_POOLING_MEAN = 1 } ss1_pooling;

/** One embedding table: .data holds .rows rows in the format .dtype, aligned to their elements. @since 0.1 */
typedef struct ss1_table {
    uint32_t struct_size; /**< @since 0.2 */
    const char *name;     /**< for messages; copied */
    ss1_table_dtype dtype;
    ss1_pooling pooling;
    size_t rows;
    const void *data;
} ss1_table;
#define SS1_TABLE_INIT \
    { sizeof(ss1_table), 0, (ss1_table_dtype)0, (ss1_pooling)0, 0, 0 }

/** Embedding tables of one width. @since 0.1 */
typedef struct ss1_bags ss1_bags;

/**
 * Create embedding bags: tables of one width for common lookups. Immutable; many threads may run them.
 * @param d       Values of a row, 1 to 65536.
 * @param tables  [n], n at least 1. The bags refer to their data, which the caller keeps alive longer than the bags.
 *                Values need not be finite.
 * @param bags    Receives the bags; the caller owns them. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT naming table, field, value and rule; SS1_ERROR_OUT_OF_MEMORY. @since 0.1
 */
SS1_API ss1_status ss1_bags_create(ss1_context *context, size_t d, const ss1_table *tables, size_t n, ss1_bags **bags);

/** Destroy bags and set *bags to NULL; accepts NULL and pointers to NULL. No run may be under way. @since 0.1 */
SS1_API void ss1_bags_destroy(ss1_bags **bags);

/**
 * Arguments of ss1_bags_run().
 *   .unchecked  1: do not check indices and offsets; wrong ones are then undefined behaviour.
 *   .batch      Bags of each table. 0 does nothing.
 *   .total      Indices of all bags.
 *   .indices    i64 [total], rows of the tables.
 *   .offsets    i64 [tables, batch]: bag (t, b) is indices[offsets[t,b] .. next offset in row-major order), the last
 *               one ends at total. The first offset is 0.
 *   .weights    f32 [total], factors of the rows; NULL: all 1.
 *   .y, .ldy    f32 [batch, tables * d] out; ldy >= tables * d (0 = tables * d): bag (t, b) at y[b*ldy + t*d]. Zeros
 *               for an empty bag. Must not overlap tables and inputs.
 * @since 0.1
 */
typedef struct ss1_bags_args {
    uint32_t struct_size;
    uint32_t unchecked;
    size_t batch, total;
    const int64_t *indices, *offsets;
    const float *weights;
    float *y;
    size_t ldy;
} ss1_bags_args;
#define SS1_BAGS_ARGS_INIT \
    { sizeof(ss1_bags_args), 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Sum the bags: y[b, t*d + j] = sum over p of weights[p] * table_t[indices[p], j] in f32 and ascending p, like
 * PyTorch's EmbeddingBag. A bag's bits depend neither on the number of threads nor on the other bags of the run.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (an index or offset out of range: the message names table, position, value
 *         and row count; the run read nothing outside the tables; y is undefined).
 * @note Thread-safe: bags are immutable. Allocates nothing. @since 0.1
 */
SS1_API ss1_status ss1_bags_run(const ss1_bags *bags, const ss1_bags_args *args);

/**
 * Arguments of ss1_model_update_rows().
 *   .table        The table's name in config.json.
 *   .n            Rows to replace. 0 does nothing.
 *   .rows         i64 [n], their numbers. Of a row that is given twice the last values count.
 *   .values, .ldv f32 [n, d], finite, row i at values[i*ldv]; ldv >= d (0 = d).
 *   .d            embedding_dim of the model, so that vectors of another model are refused.
 * @since 0.2
 */
typedef struct ss1_update_rows_args {
    uint32_t struct_size;
    const char *table;
    size_t n;
    const int64_t *rows;
    const float *values;
    size_t d, ldv;
} ss1_update_rows_args;
#define SS1_UPDATE_ROWS_ARGS_INIT \
    { sizeof(ss1_update_rows_args), 0, 0, 0, 0, 0, 0 }

/**
 * Replace rows of an embedding table of a DLRM, also while other threads run sessions of the model: each lookup of a
 * run finds a row old or new, never a mixture. A run that has begun may find either, one that begins after the call has
 * returned finds the new rows. Lookups wait while some rows are copied, 16 KiB at a time, and get in between; the call
 * waits for lookups that have begun. Values are rounded as by ss1_model_load(), quantised as by ss1_model_convert().
 * The files of the model do not change. A table that is mapped (map_tables) takes new rows, too: this process then has
 * its own copies of their pages, in memory until the model ends, and other processes keep the file's.
 * @param model  A model on the CPU.
 * @param args   Read during the call only.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (no such table or row, another d, a value that is not finite or does not
 *         fit the dtype; no row has changed then); SS1_ERROR_UNSUPPORTED (a model without tables, a ROBE array, whose
 *         rows share values, rows mapped in memory of the caller, a backend that runs the model whole); SS1_ERROR_IO
 *         (the system refuses copies of mapped pages); SS1_ERROR_OUT_OF_MEMORY.
 * @note Thread-safe. A child of fork() has rows of its own. @since 0.2
 */
SS1_API ss1_status ss1_model_update_rows(ss1_model *model, const ss1_update_rows_args *args);

#ifdef __cplusplus
}
#endif

#endif
