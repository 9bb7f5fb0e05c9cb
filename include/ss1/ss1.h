/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ss1.h  C API of ss1: linear layers tied c-fold (SS1), DLRM and BERT inference.
 *
 * Symbols: M rows (batch x tokens), K inputs, N outputs, c compression, B_K K-block length, B_N output-block width,
 * V rotation step, Kz = B_K * ceil(K / (c * B_K)) stored columns. A layer computes Y[M,N] = act(X[M,K] . W[K,N] + b)
 * with W tied as in Desai et al., "SS1: Sketch Structured Transform", NeurIPS 2024: each stored value of Z[N,Kz] stands
 * at c places.
 *
 * Rules that hold for every function:
 *  - Errors: functions return an ss1_status; ss1_last_error() gives this thread's message (function, argument,
 *    value, rule). On error no output is written, no ownership moves and nothing half created remains. The library
 *    never prints, aborts, exits or lets an exception out. Two gaps are known: running out of memory while
 *    ss1_model_load() or ss1_model_convert() parses JSON ends the process, and GCC's OpenMP ends it where the system
 *    gives it no more threads (a limit on processes or memory); a parallel_for of your own need not.
 *  - Structs: set them with their SS1_..._INIT macro; a field that is 0 means its default. They grow only at the end,
 *    and the sizes of earlier versions stay valid: the fields that they lack are 0.
 *  - Strings are UTF-8, zero terminated. Unless said otherwise, pointers passed in need to live only during the call.
 *  - Lengths and leading dimensions are in elements unless the name ends in _bytes. Matrices are row-major.
 *  - Threads: contexts, layers, models and tokenizers may be used by many threads at once; a session by one thread at a
 *    time, ss1_session_cancel() apart. A child of fork() may go on with them; if its parent had more than one
 *    thread, OpenMP's may be lost, and runs of the child use the calling thread alone (and log a warning), unless there
 *    is a parallel_for.
 *  - Denormals are taken as zero and become zero inside of a run (those of f16 are ordinary numbers in f32 and count);
 *    the caller's floating-point mode changes nothing and is restored.
 *  - Bits: on one machine and instruction-set level a row of the output has the same bits for any thread count, batch
 *    size and position in the batch.
 */
#ifndef SS1_H
#define SS1_H

#include <stddef.h>
#include <stdint.h>

#include "version.h"

#if defined(__GNUC__)
#define SS1_API __attribute__((visibility("default")))
#else
#define SS1_API
#endif

/* C++ needs to be told that an enum may hold any int: a C caller can pass one, and the library must be able to
 * refuse it. */
#ifdef __cplusplus
#define SS1_ENUM_INT : int
extern "C" {
#else
#define SS1_ENUM_INT
#endif

/* ---------------------------------------------------------------- status */

/** Result of a call. Values are pinned forever; new ones are appended. */
typedef enum ss1_status SS1_ENUM_INT {
    SS1_OK = 0,
    SS1_ERROR_INVALID_ARGUMENT = 1, /**< an argument breaks a rule of the function */
    SS1_ERROR_UNSUPPORTED = 2,      /**< valid, but this build or machine cannot do it */
    SS1_ERROR_OUT_OF_MEMORY = 3,    /**< the allocator returned NULL */
    SS1_ERROR_BACKEND = 4,          /**< backend missing, of another ABI, not usable here, or its device failed */
    SS1_ERROR_INTERNAL = 5,         /**< a bug in ss1 */
    SS1_ERROR_IO = 6,        /**< a file cannot be opened, read or written; the message has the system's reason */
    SS1_ERROR_FORMAT = 7,    /**< a file was read but breaks a rule of its format */
    SS1_ERROR_CANCELLED = 8, /**< ss1_session_cancel() ended the run */
    SS1_ERROR_DEADLINE = 9   /**< the run took longer than ss1_session_set_deadline() allows */
} ss1_status;

/** Name of a status, e.g. "SS1_ERROR_FORMAT"; "SS1_ERROR_UNKNOWN" for other values. Never NULL, static storage. */
SS1_API const char *ss1_status_name(ss1_status status);

/** Message of this thread's last failing call, "" if none failed. Valid until the next ss1 call on this thread. */
SS1_API const char *ss1_last_error(void);

/** Version of the library that is loaded, e.g. "0.1.0" (the header's is SS1_VERSION_STRING). Static storage. */
SS1_API const char *ss1_version(void);

/* ---------------------------------------------------------------- context */

/** Element types. Values are pinned. */
typedef enum ss1_dtype SS1_ENUM_INT {
    SS1_DTYPE_DEFAULT = 0, /**< f32 wherever a type is optional */
    SS1_DTYPE_F32 = 1,
    SS1_DTYPE_BF16 = 2,
    SS1_DTYPE_F16 = 3,
    SS1_DTYPE_I8 = 4,
    SS1_DTYPE_U8 = 5,
    SS1_DTYPE_I32 = 6,
    SS1_DTYPE_I64 = 7
} ss1_dtype;

typedef enum ss1_log_level SS1_ENUM_INT {
    SS1_LOG_ERROR = 1,
    SS1_LOG_WARNING = 2,
    SS1_LOG_INFO = 3,
    SS1_LOG_DEBUG = 4
} ss1_log_level;

/** Runs task(arg, i) once for each i in [0, n), in any order, possibly at once, and returns when all are done. */
typedef void (*ss1_parallel_for_fn)(void *user, size_t n, void (*task)(void *arg, size_t i), void *arg);
/** Returns `bytes` bytes at a multiple of `alignment` (a power of two, at least 64), or NULL. */
typedef void *(*ss1_alloc_fn)(void *user, size_t bytes, size_t alignment);
/** Takes back what the alloc function returned, with the same size. */
typedef void (*ss1_free_fn)(void *user, void *pointer, size_t bytes);
/** Receives one line of text without line end; called only from the thread inside the ss1 call. */
typedef void (*ss1_log_fn)(void *user, ss1_log_level level, const char *message);

/**
 * What a context is made of. Every field 0 is the default.
 *   .num_threads   Threads of one run; 0 = min(affinity mask, cgroup quota). 1 runs on the caller, without OpenMP.
 *                  The environment variable SS1_NUM_THREADS replaces a 0 here and is not read otherwise.
 *   .parallel_for  The caller's thread pool, used instead of OpenMP; num_threads then says how many tasks to make
 *                  (0: as above). Must be callable from every thread that runs layers of this context.
 *   .alloc, .free  Memory for weights, packed weights, scratch and activations; both or neither. Thread-safe.
 *                  Without them packed weights of 64 KB to 4 MB share chunks of 8 MB, which lie on huge pages where the
 *                  system allows it; a chunk goes with the last layer in it.
 *   .log           Receives messages up to .log_level (0 = SS1_LOG_WARNING; SS1_VERBOSE=1..4 raises it).
 *                  NULL: silence.
 *   .device        Device number for backends that have several.
 *   .max_isa       Highest instruction-set level to use, by name as ss1_get_info() lists them ("none" = scalar
 *                  reference, "sse4", "avx2", "avx512", ...). NULL: all that the machine has; SS1_MAX_ISA replaces a
 *                  NULL. A level above the machine's is SS1_ERROR_UNSUPPORTED.
 *   .backend       "cpu" (NULL is the same), or a backend to load as ss1_context_load_backend() does.
 */
typedef struct ss1_context_options {
    uint32_t struct_size;
    uint32_t num_threads;
    ss1_parallel_for_fn parallel_for;
    void *parallel_for_user;
    ss1_alloc_fn alloc;
    ss1_free_fn free;
    void *alloc_user;
    ss1_log_fn log;
    void *log_user;
    ss1_log_level log_level;
    int32_t device;
    const char *max_isa;
    const char *backend;
} ss1_context_options;
#define SS1_CONTEXT_OPTIONS_INIT \
    { sizeof(ss1_context_options), 0, 0, 0, 0, 0, 0, 0, 0, (ss1_log_level)0, 0, 0, 0 }

typedef struct ss1_context ss1_context;

/**
 * Create a context.
 * @param options  NULL for all defaults.
 * @param context  Receives the context; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (unknown name, half an allocator, num_threads > 4096);
 *         SS1_ERROR_UNSUPPORTED (max_isa above the machine); SS1_ERROR_BACKEND; SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_context_create(const ss1_context_options *options, ss1_context **context);

/** Give the context up and set *context to NULL; accepts NULL and pointers to NULL. Layers and models made from it
 * keep what they need. */
SS1_API void ss1_context_destroy(ss1_context **context);

/**
 * Load a backend plugin; layers created afterwards in this context use it.
 * @param name  "cuda" (looked for as libss1-cuda.so in <libdir>/ss1, then in the folder SS1_BACKEND_PATH), a path
 *              with a '/', or "cpu" for the built-in one.
 * @return SS1_OK; SS1_ERROR_BACKEND with one of three messages: file missing, wrong ABI, not usable on this machine.
 * @note Not to be called while other threads use this context. A loaded plugin is never unloaded.
 */
SS1_API ss1_status ss1_context_load_backend(ss1_context *context, const char *name);

/** One instruction set, backend or kernel: its name, whether it is used, and why or why not. Owned by the context. */
typedef struct ss1_info_item {
    const char *name;
    int32_t used;       /**< 1 used, 0 not */
    const char *reason; /**< "found and used", "not found on this CPU", "above max_isa=avx2", ... */
} ss1_info_item;

/** What a context decided. Pointers are owned by the context and live as long as it; .backends only until the next
 * ss1_context_load_backend(). */
typedef struct ss1_info {
    uint32_t struct_size;
    uint32_t num_threads;
    const char *threads_reason; /**< e.g. "affinity mask of 2 CPUs, no cgroup quota" */
    const char *cpu;            /**< model name */
    const char *backend;        /**< the one that new layers use */
    size_t n_isas, n_backends, n_kernels;
    const ss1_info_item *isas; /**< lowest level first */
    const ss1_info_item *backends;
    const ss1_info_item *kernels;         /**< every row of the kernel table, best first within a family */
    size_t l1d_bytes, l2_bytes, l3_bytes; /**< data caches seen by one core; 0 if the system does not tell */
    int32_t device;                       /**< of the options */
} ss1_info;
#define SS1_INFO_INIT \
    { sizeof(ss1_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Fill `info` with what `context` decided. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. */
SS1_API ss1_status ss1_get_info(const ss1_context *context, ss1_info *info);

/* ---------------------------------------------------------------- one linear layer */

/** How the rotations and signs of the tied weights are made. Values are pinned. */
typedef enum ss1_scheme SS1_ENUM_INT {
    SS1_SCHEME_DEFAULT = 0,   /**< mixed */
    SS1_SCHEME_REFERENCE = 1, /**< the authors' code, bit for bit; factorises into one sketch and a dense product */
    SS1_SCHEME_MIXED = 2      /**< an independent hash and sign per (output block, group, member): better accuracy */
} ss1_scheme;

/** Activation applied to X.W + b. Values are pinned. */
typedef enum ss1_activation SS1_ENUM_INT {
    SS1_ACTIVATION_NONE = 0,
    SS1_ACTIVATION_RELU = 1,
    SS1_ACTIVATION_GELU = 2,      /**< x/2 (1 + erf(x / sqrt 2)); with y in bf16 within 2^-14 of it */
    SS1_ACTIVATION_GELU_TANH = 3, /**< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    SS1_ACTIVATION_TANH = 4,
    SS1_ACTIVATION_SIGMOID = 5,
    SS1_ACTIVATION_SILU = 6 /**< x / (1 + exp(-x)) */
} ss1_activation;

/**
 * One linear layer. K and N must be set; 0 elsewhere is the default.
 *   .c        Compression >= 1; 0 = 1 = plain dense. c * B_K <= K.
 *   .seed     Of the hash. All 32 bits count for both schemes.
 *   .block_k  B_K in {16, 32, 64, 128, 256}; 0 = 64.
 *   .block_n  B_N, a multiple of 16; 0 = clamp(64 * ceil(N / 256), 256, 512); SS1_BLOCK_N_ALL = one block.
 *   .step     V, a power of two that divides B_K; 0 = 16 for mixed; reference always has 8.
 *   .x_dtype  f32, bf16 or f16.   .y_dtype  f32 or bf16.   0 = f32.
 *   .weight_dtype  How the weights are held and multiplied; they are given as f32. 0 = f32.
 *              bf16: weights and, by some kernels, the sketch of x rounded to bf16; sums in f32.
 *              i8: weights round(z / s), one scale s for each output; the f32 sketch of each row of x is quantised
 *              the same way when it runs (dynamic, symmetric); exact sums in s32, so Kz <= 131072. A row with a NaN
 *              or an infinity gives NaN. Kernels for a few outputs keep the sketch in f32.
 *              Other values, and other backends than the CPU with other than f32, are SS1_ERROR_UNSUPPORTED.
 * A tied layer whose sketches would cost more than its products save (N or block_n of a few or a few dozen) is expanded
 * to a dense one when it is created; ss1_layer_info.kernels then says "expanded".
 */
typedef struct ss1_linear_desc {
    uint32_t struct_size;
    uint32_t c;
    size_t K, N;
    ss1_scheme scheme;
    uint32_t seed;
    uint32_t block_k, block_n, step;
    ss1_activation activation;
    ss1_dtype x_dtype, y_dtype, weight_dtype;
} ss1_linear_desc;
#define SS1_BLOCK_N_ALL UINT32_MAX
#define SS1_LINEAR_DESC_INIT                                                                                        \
    {                                                                                                               \
        sizeof(ss1_linear_desc), 0, 0, 0, (ss1_scheme)0, 0, 0, 0, 0, (ss1_activation)0, (ss1_dtype)0, (ss1_dtype)0, \
            (ss1_dtype)0                                                                                            \
    }

/**
 * Weights of a layer; copied (packed) by ss1_layer_create().
 *   .z, .ldz   [N, Kz] f32, ldz >= Kz (0 = Kz). For c = 1: the dense weight as PyTorch stores it, [N, K] with Kz = K.
 *   .bias      [N] f32 or NULL for none.
 * Values must be finite.
 */
typedef struct ss1_linear_weights {
    uint32_t struct_size;
    const float *z;
    size_t ldz;
    const float *bias;
} ss1_linear_weights;
#define SS1_LINEAR_WEIGHTS_INIT \
    { sizeof(ss1_linear_weights), 0, 0, 0 }

/**
 * Replace every default in `desc` by its value and check all rules.
 * @param stored_columns  Receives Kz (K for c = 1); may be NULL.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT naming the field, its value and the rule; SS1_ERROR_UNSUPPORTED (dtype).
 */
SS1_API ss1_status ss1_linear_resolve(ss1_linear_desc *desc, size_t *stored_columns);

/**
 * Project a dense weight onto the tied form: Z[n,k] = mean of s * W over the c tied places, the least-squares fit to W;
 * with a second moment the fit to the layer's output instead, Z_j^T = (A_j^T S A_j)^-1 A_j^T S W_j^T, 1e-3 of the
 * mean diagonal added.
 * @param weight  [N, K] f32, ldw >= K (0 = K), as PyTorch stores it.
 * @param second_moment  [K, K] f32, E[x^T x] over calibration rows, symmetric; or NULL.
 * @param z       [N, Kz] f32 out, ldz >= Kz (0 = Kz). Must not overlap the inputs.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (also a second moment that is not finite and positive semidefinite);
 * SS1_ERROR_OUT_OF_MEMORY.
 * @note Time O(N K); with second_moment O(N K^2 + (N / B_N) Kz^3).
 */
SS1_API ss1_status ss1_project(const ss1_linear_desc *desc, const float *weight, size_t ldw, const float *second_moment,
                               float *z, size_t ldz);

/**
 * Expand stored weights to the dense weight they stand for: the oracle for everything else.
 * @param z       [N, Kz] f32, ldz >= Kz (0 = Kz).
 * @param weight  [N, K] f32 out, ldw >= K (0 = K): weight[n,k] = W[k,n] of the definition. Must not overlap z.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_expand(const ss1_linear_desc *desc, const float *z, size_t ldz, float *weight, size_t ldw);

typedef struct ss1_layer ss1_layer;

/**
 * Create a layer: choose kernels, pack the weights. Immutable afterwards, may be run by many threads.
 * @param layer  Receives the layer; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (a rule of ss1_linear_desc, NULL, non-finite weight);
 *         SS1_ERROR_UNSUPPORTED; SS1_ERROR_OUT_OF_MEMORY; SS1_ERROR_BACKEND.
 */
SS1_API ss1_status ss1_layer_create(ss1_context *context, const ss1_linear_desc *desc,
                                    const ss1_linear_weights *weights, ss1_layer **layer);

/** Destroy a layer and set *layer to NULL; accepts NULL and pointers to NULL. No run may be under way. */
SS1_API void ss1_layer_destroy(ss1_layer **layer);

/** BYTES of scratch that a run of m rows needs; 0 for a NULL layer. Grows with m only up to a bound known at create. */
SS1_API size_t ss1_layer_scratch_bytes(const ss1_layer *layer, size_t m);

/** Arguments of one run, see ss1_layer_run(). */
typedef struct ss1_linear_args {
    uint32_t struct_size;
    size_t m;
    const void *x;
    size_t ldx;
    void *y;
    size_t ldy;
    void *scratch;
    void *stream;
    const void *residual;
    size_t ldr;
} ss1_linear_args;
#define SS1_LINEAR_ARGS_INIT \
    { sizeof(ss1_linear_args), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Run one layer: y = act(x . W + b) + residual.
 * @param args  .m         Rows of x and y. 0 does nothing.
 *              .x, .ldx   [m, K], desc.x_dtype; ldx >= K (0 = K). Element aligned; 64 bytes is fastest.
 *              .y, .ldy   [m, N], desc.y_dtype; ldy >= N (0 = N). Must not overlap x. Columns N..ldy-1 are kept.
 *              .scratch   ss1_layer_scratch_bytes(layer, m) BYTES at a multiple of 64, or NULL to use the context's,
 *                         which allocates only while it grows.
 *              .stream    CUDA stream; NULL on the CPU.
 *              .residual, .ldr  [m, N], desc.y_dtype; ldr >= N (0 = N); NULL for none. May be y itself with ldr = ldy,
 *                         else must not overlap y. CPU only: another backend returns SS1_ERROR_UNSUPPORTED.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, ldx < K, ldy < N, overlap, misaligned, sizes that overflow);
 *         SS1_ERROR_OUT_OF_MEMORY (NULL scratch only).
 * @note Thread-safe: one layer may run on many threads, each with its own scratch or with NULL.
 */
SS1_API ss1_status ss1_layer_run(const ss1_layer *layer, const ss1_linear_args *args);

typedef struct ss1_tower ss1_tower;

/**
 * Create a tower: layers that run one behind the other, such as an MLP. Rows go through all of them block by block, so
 * that what is between two layers stays in the core's cache; with few rows on many threads, and on other backends than
 * the CPU, layer by layer. Every row's bits are those of the layers run one by one. Immutable; many threads may run it.
 * @param layers  [n] of one context; N and y_dtype of each are K and x_dtype of the next. Not owned: they must outlive
 *                the tower. One layer may occur more than once.
 * @param n       At least 1.
 * @param tower   Receives the tower; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, n = 0, layers that do not fit); SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_tower_create(const ss1_layer *const *layers, size_t n, ss1_tower **tower);

/** Destroy a tower, not its layers, and set *tower to NULL; accepts NULL and pointers to NULL. No run may be active. */
SS1_API void ss1_tower_destroy(ss1_tower **tower);

/** BYTES of scratch that a run of up to m rows needs; 0 for a NULL tower. Grows with m only up to a bound. */
SS1_API size_t ss1_tower_scratch_bytes(const ss1_tower *tower, size_t m);

/**
 * Run a tower: x of its first layer, y of its last.
 * @param args  As for ss1_layer_run() with K and x_dtype of the first layer, N and y_dtype of the last; scratch is
 *              ss1_tower_scratch_bytes(tower, m) BYTES or NULL. residual must be NULL.
 * @return As ss1_layer_run().
 * @note Thread-safe, as ss1_layer_run() is.
 */
SS1_API ss1_status ss1_tower_run(const ss1_tower *tower, const ss1_linear_args *args);

/** What a layer chose at create. Strings are owned by the layer. */
typedef struct ss1_layer_info {
    uint32_t struct_size;
    ss1_linear_desc desc;       /**< all defaults replaced */
    const char *kernels;        /**< e.g. "cpu sketch_f32_f32_avx512 gemm_f32_14x32_avx512" */
    size_t stored_columns;      /**< Kz */
    size_t weight_bytes;        /**< packed weights and bias */
    double flops_per_row;       /**< multiply-adds and sketch additions actually done, counted as 2 and 1 */
    double flops_per_row_dense; /**< 2 K N */
} ss1_layer_info;
#define SS1_LAYER_INFO_INIT \
    { sizeof(ss1_layer_info), SS1_LINEAR_DESC_INIT, 0, 0, 0, 0, 0 }

/** Describe a layer. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. */
SS1_API ss1_status ss1_layer_describe(const ss1_layer *layer, ss1_layer_info *info);

/* ---------------------------------------------------------------- embedding bags */

/** How the rows of an embedding table are stored. d values take 4d, 2d, 2d, d + 8 and ceil(d/2) + 4 BYTES. */
typedef enum ss1_table_dtype SS1_ENUM_INT {
    SS1_TABLE_DEFAULT = 0, /**< f32 wherever it is optional */
    SS1_TABLE_F32 = 1,
    SS1_TABLE_BF16 = 2,
    SS1_TABLE_F16 = 3,
    SS1_TABLE_INT8 = 4, /**< u8 q[d], f32 scale, f32 bias; value = scale * q + bias: FBGEMM's fused 8-bit rows */
    SS1_TABLE_INT4 = 5  /**< u8 q[ceil(d/2)], the first of two values in the low half, f16 scale, f16 bias: FBGEMM's
                           fused  4-bit rows */
} ss1_table_dtype;

typedef enum ss1_pooling SS1_ENUM_INT { SS1_POOLING_SUM = 0, SS1_POOLING_MEAN = 1 } ss1_pooling;

/** One embedding table: .data [rows] rows of BYTES as .dtype says, aligned to their elements. */
typedef struct ss1_table {
    const char *name; /**< for messages; copied */
    ss1_table_dtype dtype;
    ss1_pooling pooling; /**< a mean is divided by the number of indices of its bag */
    size_t rows;
    const void *data;
} ss1_table;

typedef struct ss1_bags ss1_bags;

/**
 * Create embedding bags: tables of one width that are looked up together. Immutable; many threads may run it.
 * @param d       Values of a row, 1 to 65536.
 * @param tables  [n], n at least 1. Their data is not copied, must outlive the bags and need not be finite.
 * @param bags    Receives the bags; the caller owns them. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT naming table, field, value and rule; SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_bags_create(ss1_context *context, size_t d, const ss1_table *tables, size_t n, ss1_bags **bags);

/** Destroy bags and set *bags to NULL; accepts NULL and pointers to NULL. No run may be active. */
SS1_API void ss1_bags_destroy(ss1_bags **bags);

/**
 * Arguments of ss1_bags_run().
 *   .indices  i64 [total], rows of the tables.
 *   .offsets  i64 [tables, batch]: bag (t, b) is indices[offsets[t,b] .. next offset in row-major order), the last one
 *             ends at total. The first is 0.
 *   .weights  f32 [total], factors of the rows; NULL: all 1.
 *   .y, .ldy  f32 [batch, tables * d]; ldy >= tables * d (0 = that): bag (t, b) at y[b*ldy + t*d]. Zeros for an empty
 *             bag. Must not overlap tables and inputs.
 *   .unchecked  1: indices and offsets are known to be right and not looked at; wrong ones are undefined behaviour.
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
 * Sum the bags: y[b, t*d + j] = sum over p of weights[p] * table_t[indices[p], j] in f32 and ascending p, as PyTorch's
 * EmbeddingBag does. A bag's bits depend neither on the number of threads nor on what runs with it.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (an index or offset out of range: the message names table, position, value
 *         and row count; nothing outside the tables was read, y is undefined).
 * @note Thread-safe: bags are immutable. Allocates nothing.
 */
SS1_API ss1_status ss1_bags_run(const ss1_bags *bags, const ss1_bags_args *args);

/* ---------------------------------------------------------------- models */

typedef struct ss1_model ss1_model;
typedef struct ss1_session ss1_session;

/**
 * Options of ss1_model_load().
 *   .random_weights  1: tensors are drawn from N(0, 0.02^2) by .seed instead of being read, model.safetensors need
 *                    not exist. For measuring a shape.
 *   .weight_dtype    f32, bf16 or i8: hold the weights of every linear layer so, whatever config.json says of it; see
 *                    ss1_linear_desc. 0 = as config.json says, f32 where it says nothing.
 *   .map_tables      1: embedding tables of a DLRM stay in their files, which are mapped: loading reads none of them,
 *                    bytes come into memory (shared by processes) when they are first looked up and may leave it
 *                    again. Their values are then not checked to be finite. The files must stay as they are while the
 *                    model lives: one that shrinks ends the process with SIGBUS. A table must be stored as its dtype
 *                    in config.json says, at a multiple of its element size, else SS1_ERROR_UNSUPPORTED. Ignored by
 *                    BERT.
 */
typedef struct ss1_model_options {
    uint32_t struct_size;
    uint32_t random_weights;
    uint64_t seed;
    ss1_dtype weight_dtype;
    uint32_t map_tables;
} ss1_model_options;
#define SS1_MODEL_OPTIONS_INIT \
    { sizeof(ss1_model_options), 0, 0, (ss1_dtype)0, 0 }

/**
 * Load a model directory: config.json and model.safetensors (or its sharded index). Families: "dlrm" and "bert", a
 * Hugging Face directory as it is (model_type bert, distilbert, roberta, xlm-roberta; ...Model, ...ForMaskedLM,
 * ...ForSequenceClassification, ...ForTokenClassification, ...ForQuestionAnswering, BertForPreTraining without the head
 * for pairs). Files are copied and may vanish afterwards, unless map_tables is set.
 * Linear layers take and give f32, whatever the type of their weights; only inside an MLP of a DLRM a layer with bf16
 * or i8 weights hands bf16 on to the next one if that has such weights, too.
 * @param directory  Path; @param options NULL for defaults.
 * @param model      Receives the model; the caller owns one reference. Not written on error.
 * @return SS1_OK; SS1_ERROR_IO (missing or unreadable file); SS1_ERROR_FORMAT (a file breaks a rule: file, tensor
 *         or key, value and rule are in the message); SS1_ERROR_UNSUPPORTED (by name; also another weight_dtype);
 *         SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_model_load(ss1_context *context, const char *directory, const ss1_model_options *options,
                                  ss1_model **model);

/** Give one reference up and set *model to NULL; accepts NULL and pointers to NULL. Sessions keep their model alive. */
SS1_API void ss1_model_destroy(ss1_model **model);

/** A named array: input or output of a session. Shapes that vary are -1 in ss1_model_input/output. */
typedef struct ss1_tensor {
    const char *name;
    ss1_dtype dtype;
    uint32_t rank;
    int64_t shape[4];
    void *data;   /**< row-major, no padding; never written for inputs */
    size_t bytes; /**< size of data */
} ss1_tensor;

/**
 * Describe the i-th input or output; data is NULL, bytes 0, shape -1 where it varies. Names are owned by the model.
 *   DLRM  in:  dense_x f32 [B, D]; indices i64 [total]; offsets i64 [tables, B]: bag (t, b) is
 *              indices[offsets[t,b] .. next offset in row-major order), the last one ends at total; optional
 *              weights f32 [total]: factors of the rows looked up (missing: all 1). A mean is divided by the number
 *              of indices whatever the weights.
 *              Tables on the user's side ("side": "user" in config.json) are not among these `tables`: their bags are
 *              user_indices i64 [user_total], user_offsets i64 [user_tables, B] and optional user_weights f32
 *              [user_total].
 *              One user, many items: dense_x may be [1, D] and user_offsets [user_tables, 1], each by itself. They then
 *              stand for all B rows and are computed once, to the same bits as if they were repeated.
 *         out: probability f32 [B] = 1 / (1 + exp(-logits)), kept in [t, 1 - t] by loss_threshold t; logits f32 [B].
 *   BERT  in:  input_ids i64 [B, T]; optional attention_mask i64 [B, T] (1 = token, 0 = padding; missing: all 1),
 *              token_type_ids i64 [B, T] (missing: all 0; DistilBERT has none).
 *         out: last_hidden_state f32 [B, T, H]; pooled f32 [B, H] where there is a pooler; by the head one of
 *              logits f32 [B, labels] (sequences), [B, T, labels] (tokens) or [B, T, vocab_size] (masked words), or
 *              start_logits and end_logits f32 [B, T] (answers). The session holds them all: ss1_session_bytes() tells
 *              what scores of 30,522 words for each of B T tokens cost.
 *              Padding behind the tokens of a sequence, a mask of ones, then zeros, is not computed: a batch costs the
 *              sum of its lengths, a sequence has the same bits in any batch and with any padding, and hidden states of
 *              padding and what heads make of them are 0. With any other mask all T tokens of the sequence are computed
 *              and only hidden from each other, as Hugging Face does. T = 0 gives zeros for what is not empty.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT once i is past the last one: count by calling until then.
 */
SS1_API ss1_status ss1_model_input(const ss1_model *model, size_t i, ss1_tensor *tensor);
SS1_API ss1_status ss1_model_output(const ss1_model *model, size_t i, ss1_tensor *tensor);

/**
 * One linear layer of a model. The name and the strings in `layer` are owned by the model. Queries, keys and values of
 * one mapping and type run as one layer; each counts its share of the bytes and FLOPs.
 */
typedef struct ss1_model_layer_info {
    uint32_t struct_size;
    const char *name; /**< e.g. "top_l.2", "encoder.layer.0.intermediate.dense" */
    ss1_layer_info layer;
} ss1_model_layer_info;
#define SS1_MODEL_LAYER_INFO_INIT \
    { sizeof(ss1_model_layer_info), 0, SS1_LAYER_INFO_INIT }

/** Describe the i-th linear layer, in the order of execution. @return as ss1_model_input(). */
SS1_API ss1_status ss1_model_layer(const ss1_model *model, size_t i, ss1_model_layer_info *info);

/** What a model is. Strings are owned by the model. */
typedef struct ss1_model_info {
    uint32_t struct_size;
    const char *family; /**< "dlrm" or "bert" (also DistilBERT and RoBERTa: one graph) */
    const char *config; /**< config.json as it was read */
    size_t n_inputs, n_outputs, n_layers;
    size_t weight_bytes;    /**< memory held by the weights */
    size_t parameters;      /**< stored values: tables, matrices, biases */
    size_t n_labels;        /**< classes of a classifier's logits, see ss1_model_label(); 0: no classifier */
    size_t max_tokens;      /**< BERT: the longest sequence; 0 for DLRM, as the next two */
    size_t vocab_size;      /**< BERT: input_ids are below it */
    size_t type_vocab_size; /**< BERT: token_type_ids are below it; 0: the model takes none */
} ss1_model_info;
#define SS1_MODEL_INFO_INIT \
    { sizeof(ss1_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Describe a model. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. */
SS1_API ss1_status ss1_model_describe(const ss1_model *model, ss1_model_info *info);

/**
 * Name of class i of a classifier's logits (of a sequence or of each token), as id2label in config.json has it, or
 * "LABEL_<i>" where config.json names none.
 * @param label  Receives the name, UTF-8, owned by the model. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT once i is past the last one: ss1_model_info.n_labels says how many there
 *         are.
 */
SS1_API ss1_status ss1_model_label(const ss1_model *model, size_t i, const char **label);

/**
 * Bounds of a session.
 *   .max_batch   Rows (DLRM) or sequences (BERT) of one run; 0 = 1.
 *   .max_tokens  BERT: tokens of one sequence; 0 = the model's limit (ss1_model_info.max_tokens). Ignored by DLRM.
 */
typedef struct ss1_session_options {
    uint32_t struct_size;
    size_t max_batch;
    size_t max_tokens;
} ss1_session_options;
#define SS1_SESSION_OPTIONS_INIT \
    { sizeof(ss1_session_options), 0, 0 }

/**
 * BYTES that a session with these bounds allocates; known before anything is allocated.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (bounds that overflow, max_tokens above the model's limit).
 */
SS1_API ss1_status ss1_session_bytes(const ss1_model *model, const ss1_session_options *options, size_t *bytes);

/**
 * Create a session: the activations of one caller. All memory is taken and written to here, by this thread (so on its
 * NUMA node): a run allocates nothing, and after the first one, in which the pool's threads start, it causes no page
 * fault.
 * @param options  NULL for defaults. @param session Receives the session; the caller owns it.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT as ss1_session_bytes(); SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_session_create(ss1_model *model, const ss1_session_options *options, ss1_session **session);

/** Destroy a session and set *session to NULL; accepts NULL and pointers to NULL. */
SS1_API void ss1_session_destroy(ss1_session **session);

/**
 * Run the model.
 * @param inputs   Tensors by name, in any order; bytes must equal the shape's size. Missing optional ones take
 *                 their default.
 * @param outputs  Those wanted, by name: dtype, data and bytes (at least what is needed) are read; rank and shape
 *                 are written. They overlap neither each other nor inputs. Heads of a BERT that give none of them are
 *                 not computed.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (unknown, missing or twice-given name, dtype, rank, shape, bytes; batch
 * above max_batch; an index or offset out of range: the message names table, position, value and row count);
 * SS1_ERROR_CANCELLED; SS1_ERROR_DEADLINE. After an error the session is as good as before.
 */
SS1_API ss1_status ss1_session_run(ss1_session *session, const ss1_tensor *inputs, size_t n_inputs, ss1_tensor *outputs,
                                   size_t n_outputs);

/**
 * Measure where the time of runs goes: from now on each run adds the SECONDS of its stages to
 * seconds[0..n). DLRM has n = 4: lookup (embedding bags), bottom MLP, interaction (with the cross network), top MLP
 * (with the probabilities); BERT n = 8: embeddings, queries with keys and values, attention, its output layer,
 * intermediate (with the activation), output, the encoder layers' norms, heads (with the unpacking of hidden states);
 * together they are the run but for checks, copies of outputs and the threads' start and end.
 * Where threads take rows through all stages at their own pace, the times are those of the thread that took longest.
 * A session that is not measured pays nothing.
 * @param seconds  Of the caller, who keeps it until the session is destroyed or the next call of this function; NULL
 *                 with n = 0: no longer measure.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (n is not the number of stages).
 */
SS1_API ss1_status ss1_session_time_stages(ss1_session *session, double *seconds, size_t n);

/**
 * End the run of this session that is under way, from any thread: it returns SS1_ERROR_CANCELLED when its present stage
 * (a linear layer of a block of rows, an attention; embedding bags or interaction of a block of a DLRM's rows) is done,
 * and writes no output; a run that was about to return may still be SS1_OK. Without a run under way nothing happens,
 * later runs are not affected: a request that still waits for its run is the caller's to drop.
 * @param session  Must live until this returns. NULL does nothing.
 * @note Any thread, any time; lock free, also for use in a signal handler.
 */
SS1_API void ss1_session_cancel(ss1_session *session);

/**
 * Set the deadline of each later run of this session. It is looked at between the stages of a run and at its end; a run
 * that is late writes no output and returns SS1_ERROR_DEADLINE. So what is SS1_OK was computed in time, and a late
 * request gives its threads free at most one stage after its deadline.
 * @param seconds  From the call of ss1_session_run(); at least 0, finite; 0 = none, as in a new session.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, seconds negative or not finite).
 * @note Between runs, by the thread that uses the session.
 */
SS1_API ss1_status ss1_session_set_deadline(ss1_session *session, double seconds);

/* ---------------------------------------------------------------- text */

typedef struct ss1_tokenizer ss1_tokenizer;

/**
 * Load the WordPiece tokenizer of a BERT model directory: vocab.txt, or tokenizer.json, or both if they agree;
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json as far as they are there. Ids are
 * those that BertTokenizer of Hugging Face's transformers 5.17 (tokenizers 0.23) gives. Immutable; many threads may use
 * it. Read from tokenizer_config.json: do_lower_case (missing: true), strip_accents (missing: as do_lower_case),
 * tokenize_chinese_chars (missing: true), model_max_length, the unk, sep, pad, cls and mask tokens (text or object with
 * "content"; missing: [UNK] and so on), and added tokens, which the other files name, too (src/io/README.md).
 * @param tokenizer  Receives the tokenizer; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_IO (no vocabulary, or unreadable); SS1_ERROR_FORMAT (file, line or key, value and rule are
 * in the message; also a vocabulary without its unk, sep, pad or cls token, files that contradict each other);
 * SS1_ERROR_UNSUPPORTED (another family's tokenizer, rows cut at their beginning, a token matched otherwise than as it
 * is or whose id in Hugging Face depends on an order that the files do not keep, a build without ICU);
 * SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_OUT_OF_MEMORY.
 */
SS1_API ss1_status ss1_tokenizer_load(ss1_context *context, const char *directory, ss1_tokenizer **tokenizer);

/** Destroy a tokenizer and set *tokenizer to NULL; accepts NULL and pointers to NULL. No call may be under way. */
SS1_API void ss1_tokenizer_destroy(ss1_tokenizer **tokenizer);

/** What a tokenizer is. */
typedef struct ss1_tokenizer_info {
    uint32_t struct_size;
    int32_t lower_case, strip_accents, split_ideographs; /**< 1: it does so */
    size_t vocab_size; /**< ids are below it: lines of vocab.txt, and the added tokens behind them */
    size_t max_tokens; /**< the smaller of model_max_length and max_position_embeddings; 0: neither limits */
    int64_t unk, sep, pad, cls;
    int64_t mask; /**< -1: the vocabulary has none */
} ss1_tokenizer_info;
#define SS1_TOKENIZER_INFO_INIT \
    { sizeof(ss1_tokenizer_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Describe a tokenizer. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. */
SS1_API ss1_status ss1_tokenizer_describe(const ss1_tokenizer *tokenizer, ss1_tokenizer_info *info);

/**
 * The token with an id, e.g. "##ing"; UTF-8, owned by the tokenizer.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (id is not in [0, vocab_size)).
 */
SS1_API ss1_status ss1_tokenizer_token(const ss1_tokenizer *tokenizer, int64_t id, const char **token);

/** Text in UTF-8, not zero terminated; data may be NULL if bytes is 0. Bytes that are not UTF-8 count as U+FFFD, as
 * with Python's bytes.decode(errors="replace"): BERT drops it. */
typedef struct ss1_text {
    const char *data;
    size_t bytes;
} ss1_text;

/**
 * Arguments of ss1_tokenizer_encode().
 *   .n               Rows: texts, or pairs of texts. 0 does nothing.
 *   .first, .second  [n]; second NULL: no pairs.
 *   .max_tokens      T, special tokens included: at least 2 (pairs: 3); 0 = the tokenizer's max_tokens. What is longer
 *                    is cut at its end; of a pair the longer text first, until both are equally long ("longest_first").
 *   .input_ids       i64 [n, T] out: [CLS] first [SEP], or [CLS] first [SEP] second [SEP], then [PAD].
 *   .attention_mask  i64 [n, T] out: 1 for tokens, 0 for padding; or NULL.
 *   .token_type_ids  i64 [n, T] out: 1 for the second text and its [SEP], else 0; or NULL.
 *   .ld              Leading dimension of these and of begins and ends, >= T (0 = T). Columns T..ld-1 are kept.
 *   .lengths         [n] out: tokens of each row, without padding; or NULL.
 *   .begins, .ends   i64 [n, T] out: the bytes [begin, end) of its text (the second one where token_type_ids is 1) that
 *                    each token comes from; either or both may be NULL. 0 and 0 for [CLS], [SEP] and [PAD] that the
 *                    texts do not hold themselves; every other token has begin < end <= the text's bytes, and
 *                    neither begins nor ends of a text's tokens decrease. They are the offsets of Hugging Face's
 *                    tokenizers 0.23, in bytes: from the first byte of the character that gave the token's first one
 *                    after normalisation to the last byte of the one that gave its last. So an accent that is
 *                    dropped behind the last letter is outside, one between two letters inside; pieces of one
 *                    character (decomposed Hangul) have the same place; the unknown token has that of its whole word.
 */
typedef struct ss1_tokenize_args {
    uint32_t struct_size;
    size_t n;
    const ss1_text *first, *second;
    size_t max_tokens;
    int64_t *input_ids, *attention_mask, *token_type_ids;
    size_t ld;
    size_t *lengths;
    int64_t *begins, *ends;
} ss1_tokenize_args;
#define SS1_TOKENIZE_ARGS_INIT \
    { sizeof(ss1_tokenize_args), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Texts to ids and places, on the context's threads; a row's depend on nothing but its texts.
 * Special tokens are found in the text as it is: "[SEP]" gives the id of [SEP], also inside of a word.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, max_tokens or ld too small, outputs that overlap).
 * @note Thread-safe. Allocates nothing.
 */
SS1_API ss1_status ss1_tokenizer_encode(const ss1_tokenizer *tokenizer, const ss1_tokenize_args *args);

/* ---------------------------------------------------------------- conversion */

/** Where the weights of the matched layers come from. */
typedef enum ss1_convert_from SS1_ENUM_INT {
    SS1_CONVERT_FROM_DENSE = 0, /**< dense layers: project them (ss1_project without second moment) */
    SS1_CONVERT_FROM_SSL = 1 /**< the SS1 authors' checkpoints: `weight` is already Z; desc must say how it was made */
} ss1_convert_from;

/**
 * Options of ss1_model_convert().
 *   .desc    c, scheme, seed, block_k, block_n, step and weight_dtype of the matched layers; K and N are the model's.
 *            c >= 2 ties them. c = 0 or 1 leaves them dense or tied as they are and writes weight_dtype alone, which
 *            must then be given and the other fields be 0.
 *            weight_dtype: f32, bf16 or i8; 0 keeps what the source says. It is written to config.json and applied
 *            when the model is loaded: the file's tensors stay as they are.
 *            FROM_SSL: scheme reference; c, seed, block_k and block_n must be given (they are not in the file).
 *   .layers  Which linear layers, comma separated names with * for any run of characters, '!' in front excludes;
 *            NULL: every layer with c * block_k <= K; for c < 2 all. A pattern that matches no layer is an error.
 *   .load    How to read the source, see ss1_model_load(); its weight_dtype must be 0.
 *   .tables  New dtype of all embedding tables of a DLRM; 0 leaves them as they are. int8 and int4 are quantised row by
 *            row as FBGEMM does it. Tables that are int8 or int4 already are an error, a ROBE array, too. With tables
 *            set, desc.c and desc.weight_dtype may both be 0: the layers stay as they are.
 */
typedef struct ss1_convert_options {
    uint32_t struct_size;
    ss1_convert_from from;
    ss1_linear_desc desc;
    const char *layers;
    ss1_model_options load;
    ss1_table_dtype tables;
} ss1_convert_options;
#define SS1_CONVERT_OPTIONS_INIT                                                                           \
    {                                                                                                      \
        sizeof(ss1_convert_options), (ss1_convert_from)0, SS1_LINEAR_DESC_INIT, 0, SS1_MODEL_OPTIONS_INIT, \
            (ss1_table_dtype)0                                                                             \
    }

/**
 * Read a model directory and write another one with the matched layers as SS1, with another type of weights, or both.
 * Files appear atomically (temporary name, rename); `output` is created and must not hold a model yet.
 * The tokenizer goes along: vocab.txt, tokenizer.json and the like (src/io/README.md) are copied if they are there.
 * @return as ss1_model_load(); SS1_ERROR_INVALID_ARGUMENT (pattern without a match, c * B_K > K for a layer named by
 * `layers`); SS1_ERROR_IO (output exists or cannot be written).
 */
SS1_API ss1_status ss1_model_convert(ss1_context *context, const char *directory, const char *output,
                                     const ss1_convert_options *options);

#ifdef __cplusplus
}
#endif

#endif
