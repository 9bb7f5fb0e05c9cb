/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ss1.h  C API of ss1: linear layers tied c-fold (SS1), DLRM and BERT inference. It includes bags.h,
 * calibrate.h, convert.h, memory.h and text.h.
 *
 * Symbols: M rows (batch x tokens), K inputs, N outputs, c compression, B_K K-block length, B_N output-block width,
 * V rotation step, Kz = B_K * ceil(K / (c * B_K)) stored columns. A layer computes Y[M,N] = act(X[M,K] . W[K,N] + b)
 * with W = T(Z) + V U. The part T(Z) is tied as in Desai et al., "SS1: Sketch Structured Transform", NeurIPS 2024: each
 * stored value of Z[N,Kz] stands at c places. The part V U has rank r, V[K,r] and U[r,N]. A layer has one part or both.
 *
 * Rules that hold for every function:
 *  - Errors: functions return an ss1_status; ss1_last_error() gives this thread's message (function, argument,
 *    value, rule). On error the library takes no ownership, frees all that it had begun to create, and writes no output
 *    but where a function says so (text.h; a run of a whole model by a backend). It never prints, aborts, exits or lets
 *    an exception out, also where memory runs out or the system refuses to start threads.
 *  - Structs: set each struct with its SS1_..._INIT macro; a field that is 0 means its default. Structs grow only at
 *    their end. A program built with an older header works: the fields that it lacks are 0. A program built with
 *    a newer header works as long as the fields that this library does not know are 0; otherwise the call returns
 *    SS1_ERROR_INVALID_ARGUMENT. The library writes at most struct_size bytes of a struct, zeroes fields that it does
 *    not know, and keeps struct_size. The last field of a struct may be a struct, which then grows with it.
 *  - Arrays of structs: struct_size of the first element is the distance between elements; all must have the same.
 *  - Strings are UTF-8, zero terminated. Unless a function says otherwise, pointers need to be valid only during the
 *    call.
 *  - Lengths and leading dimensions are in elements unless the name ends in _bytes. Matrices are row-major.
 *  - Threads: many threads may use a context, layer, model or tokenizer at once. One thread at a time may use
 *    a session: while a call uses it, other calls except ss1_session_cancel() return SS1_ERROR_INVALID_ARGUMENT ("in
 *    use"). A child of fork() may continue to use them, also if another thread was inside of the library; a session
 *    that another thread was running stays in use there. The child starts threads of its own; after _Fork() or clone(),
 *    which no library hears of, its runs may wait for ever. A context ends its threads when the last of the context,
 *    its layers and its models is destroyed. The library stays loaded after dlclose().
 *  - Denormal inputs count as zero and denormal results become zero inside a run (f16 denormals are ordinary f32
 *    numbers and count). The caller's floating-point mode has no effect on results and is restored.
 *  - Bits: on one machine and instruction-set level a row of the output has the same bits for any thread count, batch
 *    size and position in the batch.
 *  - "@since" names the version of ss1 that introduced a function, struct or field.
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

/* In C++ the enums have the underlying type int: a C caller can pass any int, and the library must be able to reject
 * it. */
#ifdef __cplusplus
#define SS1_ENUM_INT : int
extern "C" {
#else
#define SS1_ENUM_INT
#endif

/* ---------------------------------------------------------------- status */

/** Result of a call. Values never change; new ones are appended. @since 0.1 */
typedef enum ss1_status SS1_ENUM_INT {
    SS1_OK = 0,
    SS1_ERROR_INVALID_ARGUMENT = 1, /**< an argument breaks a rule of the function */
    SS1_ERROR_UNSUPPORTED = 2,      /**< valid, but this build or machine cannot do it */
    SS1_ERROR_OUT_OF_MEMORY = 3,    /**< the allocator returned NULL, or the system has no memory */
    SS1_ERROR_BACKEND = 4,   /**< backend missing, built for another ABI, not usable here, or its device failed */
    SS1_ERROR_INTERNAL = 5,  /**< a bug in ss1 */
    SS1_ERROR_IO = 6,        /**< a file cannot be opened, read or written; the message has the system's reason */
    SS1_ERROR_FORMAT = 7,    /**< a file was read but breaks a rule of its format */
    SS1_ERROR_CANCELLED = 8, /**< ss1_session_cancel() ended the run, or options.cancel a conversion */
    SS1_ERROR_DEADLINE = 9   /**< the run took longer than ss1_session_set_deadline() allows */
} ss1_status;

/** Name of a status, e.g. "SS1_ERROR_FORMAT"; "SS1_ERROR_UNKNOWN" for other values. Never NULL, static storage.
 * @since 0.1 */
SS1_API const char *ss1_status_name(ss1_status status);

/** Message of this thread's last failing call, "" if none failed. Valid until the next ss1 call on this thread.
 * @since 0.1 */
SS1_API const char *ss1_last_error(void);

/** Version of the loaded library, e.g. "0.2.0" (the header's is SS1_VERSION_STRING). Static storage. @since 0.1 */
SS1_API const char *ss1_version(void);

/* ---------------------------------------------------------------- context */

/** Element types. Values never change. @since 0.1 */
typedef enum ss1_dtype SS1_ENUM_INT {
    SS1_DTYPE_DEFAULT = 0, /**< f32 where a type is optional */
    SS1_DTYPE_F32 = 1,
    SS1_DTYPE_BF16 = 2,
    SS1_DTYPE_F16 = 3,
    SS1_DTYPE_I8 = 4,
    SS1_DTYPE_U8 = 5,
    SS1_DTYPE_I32 = 6,
    SS1_DTYPE_I64 = 7
} ss1_dtype;

/** Format of the rows of an embedding table. d values take 4d, 2d, 2d, d + 8 and ceil(d/2) + 4 BYTES. @since 0.1 */
typedef enum ss1_table_dtype SS1_ENUM_INT {
    SS1_TABLE_DEFAULT = 0, /**< f32 where it is optional */
    SS1_TABLE_F32 = 1,
    SS1_TABLE_BF16 = 2,
    SS1_TABLE_F16 = 3,
    SS1_TABLE_INT8 = 4, /**< u8 q[d], f32 scale, f32 bias; value = scale * q + bias: FBGEMM's fused 8-bit rows */
    SS1_TABLE_INT4 = 5  /**< u8 q[ceil(d/2)], the first of two values in the low half, f16 scale, f16 bias: FBGEMM's
                           fused 4-bit rows */
} ss1_table_dtype;

/** Severity of a log message. @since 0.1 */
typedef enum ss1_log_level SS1_ENUM_INT {
    SS1_LOG_ERROR = 1,
    SS1_LOG_WARNING = 2,
    SS1_LOG_INFO = 3,
    SS1_LOG_DEBUG = 4
} ss1_log_level;

/** Runs task(arg, i) once for each i in [0, n), in any order, possibly at once, and returns when all are done. It must
 * return normally. After a C++ exception from it the ss1 call returns SS1_ERROR_INVALID_ARGUMENT; the outputs of a
 * layer, a tower or bags are then undefined. @since 0.1 */
typedef void (*ss1_parallel_for_fn)(void *user, size_t n, void (*task)(void *arg, size_t i), void *arg);
/** Returns `bytes` bytes at a multiple of `alignment` (a power of two, at least 64), or NULL. @since 0.1 */
typedef void *(*ss1_alloc_fn)(void *user, size_t bytes, size_t alignment);
/** Frees a block of the alloc function; `bytes` is its size as requested. @since 0.1 */
typedef void (*ss1_free_fn)(void *user, void *pointer, size_t bytes);
/** Receives one line of text without line end; called only from the thread inside the ss1 call. @since 0.1 */
typedef void (*ss1_log_fn)(void *user, ss1_log_level level, const char *message);

/**
 * Options of ss1_context_create().
 *   .num_threads   Threads of one run; 0 = min(affinity mask, cgroup quota). 1 runs on the caller and starts no thread.
 *                  The environment variable SS1_NUM_THREADS replaces a 0 here and has no other effect.
 *   .parallel_for  The caller's thread pool, used instead of the context's own; num_threads is then the number of
 *                  tasks to make (0: as above). Must be callable from every thread that runs layers of this context.
 *   .alloc, .free  Memory for weights, packed weights, scratch and activations; set both or neither. Thread-safe.
 *                  Without them packed weights of 64 KB to 4 MB share chunks of 8 MB, which lie on huge pages where the
 *                  system allows it; a chunk is freed with its last layer.
 *   .log           Receives messages up to .log_level (0 = SS1_LOG_WARNING; SS1_VERBOSE=1..4 raises it).
 *                  NULL: silence.
 *   .device        Device number for backends with several devices.
 *   .max_isa       Highest instruction-set level to use, by its name in ss1_get_info() ("none" = scalar reference,
 *                  "sse4", "avx2", "avx512", ...). NULL: every level of the machine; SS1_MAX_ISA replaces a
 *                  NULL. A level above the machine's is SS1_ERROR_UNSUPPORTED.
 *   .backend       "cpu" (same as NULL), or a backend to load as by ss1_context_load_backend().
 * @since 0.1
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

/** Threads, memory, log, instruction sets and backend of the objects created from it. @since 0.1 */
typedef struct ss1_context ss1_context;

/**
 * Create a context.
 * @param options  NULL for all defaults.
 * @param context  Receives the context; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (unknown name, half an allocator, num_threads > 4096);
 *         SS1_ERROR_UNSUPPORTED (max_isa above the machine); SS1_ERROR_BACKEND; SS1_ERROR_OUT_OF_MEMORY. @since 0.1
 */
SS1_API ss1_status ss1_context_create(const ss1_context_options *options, ss1_context **context);

/** Release the context and set *context to NULL; accepts NULL and pointers to NULL. Layers and models created from it
 * stay valid. @since 0.1 */
SS1_API void ss1_context_destroy(ss1_context **context);

/**
 * Load a backend plugin; layers created afterwards in this context use it.
 * @param name  "cuda" (the file libss1-cuda.so in <libdir>/ss1, then in the folder SS1_BACKEND_PATH), a path
 *              with a '/', or "cpu" for the built-in backend.
 * @return SS1_OK; SS1_ERROR_BACKEND with one of three messages: file missing, wrong ABI, not usable on this machine.
 * @note Do not call it while other threads use this context. A loaded plugin is never unloaded. @since 0.1
 */
SS1_API ss1_status ss1_context_load_backend(ss1_context *context, const char *name);

/** One instruction set, backend or kernel. Owned by the context. Only the library makes it; it never grows. @since 0.1
 */
typedef struct ss1_info_item {
    const char *name;
    int32_t used;       /**< 1 used, 0 not */
    const char *reason; /**< "found and used", "not found on this CPU", "above max_isa=avx2", ... */
} ss1_info_item;

/** The choices of a context. The context owns the pointers, which live as long as it; .backends lives only until the
 * next ss1_context_load_backend(). @since 0.1 */
typedef struct ss1_info {
    uint32_t struct_size;
    uint32_t num_threads;
    int32_t device;             /**< of the options */
    const char *threads_reason; /**< e.g. "affinity mask of 2 CPUs, no cgroup quota" */
    const char *cpu;            /**< model name */
    const char *backend;        /**< the backend of new layers */
    size_t n_isas, n_backends, n_kernels;
    const ss1_info_item *isas; /**< lowest level first */
    const ss1_info_item *backends;
    const ss1_info_item *kernels;         /**< every row of the kernel table, best first within a family */
    size_t l1d_bytes, l2_bytes, l3_bytes; /**< data caches that one core sees; 0 if the system does not report them */
} ss1_info;
#define SS1_INFO_INIT \
    { sizeof(ss1_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Describe the choices of a context. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. @since 0.1 */
SS1_API ss1_status ss1_get_info(const ss1_context *context, ss1_info *info);

/* ---------------------------------------------------------------- one linear layer */

/** How the rotations and signs of the tied weights are made. Values never change. @since 0.1 */
typedef enum ss1_scheme SS1_ENUM_INT {
    SS1_SCHEME_DEFAULT = 0,   /**< mixed */
    SS1_SCHEME_REFERENCE = 1, /**< the authors' code, bit for bit; factorises into one sketch and a dense product */
    SS1_SCHEME_MIXED = 2      /**< an independent hash and sign per (output block, group, member): better accuracy */
} ss1_scheme;

/** Activation of X.W + b. Values never change. @since 0.1 */
typedef enum ss1_activation SS1_ENUM_INT {
    SS1_ACTIVATION_NONE = 0,
    SS1_ACTIVATION_RELU = 1,
    SS1_ACTIVATION_GELU = 2,      /**< x/2 (1 + erf(x / sqrt 2)); a bf16 y lies within 2^-14 of it */
    SS1_ACTIVATION_GELU_TANH = 3, /**< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    SS1_ACTIVATION_TANH = 4,
    SS1_ACTIVATION_SIGMOID = 5,
    SS1_ACTIVATION_SILU = 6 /**< x / (1 + exp(-x)) */
} ss1_activation;

/**
 * One linear layer. K and N must be set; 0 elsewhere is the default.
 *   .c        Compression >= 1; 1 = plain dense. c * B_K <= K. 0 = 1, but with rank > 0 the layer has no tied part: Kz
 *             is 0 and W = V U.
 *   .seed     Seed of the hash. All 32 bits count for both schemes.
 *   .block_k  B_K in {16, 32, 64, 128, 256}; 0 = 64.
 *   .block_n  B_N, a multiple of 16; 0 = clamp(64 * ceil(N / 256), 256, 512); SS1_BLOCK_N_ALL = one block.
 *   .step     V, a power of two that divides B_K; 0 = 16 for mixed; always 8 for reference.
 *   .x_dtype  f32, bf16 or f16.   .y_dtype  f32 or bf16.   0 = f32.
 *   .weight_dtype  Type in which the layer holds and multiplies the weights; the caller gives them as f32. 0 = f32.
 *              bf16: weights and, in some kernels, the sketch of x rounded to bf16; sums in f32.
 *              i8: weights round(z / s), one scale s per output; a run quantises the f32 sketch of each row of x the
 *              same way (dynamic, symmetric); exact sums in s32, so Kz <= 131072. A row with a NaN or an infinity
 *              gives NaN. Kernels for a few outputs keep the sketch in f32.
 *              The part V U follows the same rules: V and U are rounded like Z, and x V is appended to the sketch (with
 *              i8: in f32, and both are quantised together; Kz + rank and K are then at most 131072).
 *              Other values, and types that the backend does not support, are SS1_ERROR_UNSUPPORTED.
 *   .rank     Rank r of the part V U of W, at most min(K, N); 0 = the layer has no such part. Multiples of 32 fill the
 *             tiles of every kernel. Multiply-adds of a row: N (Kz + r) + K r, beside K N of a dense layer.
 *             @since 0.2
 * ss1_layer_create() expands a layer to a dense one if its sketches and x V would cost more than the products save (N
 * or block_n of a few or a few dozen, a rank near that of W); ss1_layer_info.kernels then says "expanded".
 * @since 0.1
 */
typedef struct ss1_linear_desc {
    uint32_t struct_size;
    size_t K, N;
    uint32_t c;
    ss1_scheme scheme;
    uint32_t seed;
    uint32_t block_k, block_n, step;
    ss1_activation activation;
    ss1_dtype x_dtype, y_dtype, weight_dtype;
    size_t rank; /**< @since 0.2 */
} ss1_linear_desc;
#define SS1_BLOCK_N_ALL UINT32_MAX
#define SS1_LINEAR_DESC_INIT                                                                                        \
    {                                                                                                               \
        sizeof(ss1_linear_desc), 0, 0, 0, (ss1_scheme)0, 0, 0, 0, 0, (ss1_activation)0, (ss1_dtype)0, (ss1_dtype)0, \
            (ss1_dtype)0, 0                                                                                         \
    }

/**
 * Weights of a layer; ss1_layer_create() copies (packs) them. All values must be finite.
 *   .z, .ldz   [N, Kz] f32, ldz >= Kz (0 = Kz). For c = 1: the dense weight in PyTorch's layout, [N, K] with Kz = K.
 *              NULL if the layer has no tied part (rank > 0, c = 0).
 *   .bias      [N] f32 or NULL for none.
 *   .u, .v     [N, rank] and [rank, K] f32 without gaps: the weights of PyTorch's Linear(rank, N) behind
 *              Linear(K, rank); W[k,n] has sum_i u[n,i] v[i,k] added. NULL if rank is 0. @since 0.2
 * @since 0.1
 */
typedef struct ss1_linear_weights {
    uint32_t struct_size;
    const float *z;
    size_t ldz;
    const float *bias;
    const float *u, *v; /**< @since 0.2 */
} ss1_linear_weights;
#define SS1_LINEAR_WEIGHTS_INIT \
    { sizeof(ss1_linear_weights), 0, 0, 0, 0, 0 }

/**
 * Replace every default in `desc` by its value and check all rules.
 * @param stored_columns  Receives Kz (K for c = 1, 0 without a tied part); may be NULL.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT naming the field, its value and the rule; SS1_ERROR_UNSUPPORTED (dtype).
 * @since 0.1
 */
SS1_API ss1_status ss1_linear_resolve(ss1_linear_desc *desc, size_t *stored_columns);

/** A linear layer with packed weights. @since 0.1 */
typedef struct ss1_layer ss1_layer;

/**
 * Create a layer: choose kernels and pack the weights. The layer is immutable; many threads may run it.
 * @param layer  Receives the layer; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (a rule of ss1_linear_desc, NULL, non-finite weight);
 *         SS1_ERROR_UNSUPPORTED; SS1_ERROR_OUT_OF_MEMORY; SS1_ERROR_BACKEND. @since 0.1
 */
SS1_API ss1_status ss1_layer_create(ss1_context *context, const ss1_linear_desc *desc,
                                    const ss1_linear_weights *weights, ss1_layer **layer);

/** Destroy a layer and set *layer to NULL; accepts NULL and pointers to NULL. No run may be under way. @since 0.1 */
SS1_API void ss1_layer_destroy(ss1_layer **layer);

/** BYTES of scratch that a run of m rows needs; 0 for a NULL layer. It has a bound for all m. @since 0.1 */
SS1_API size_t ss1_layer_scratch_bytes(const ss1_layer *layer, size_t m);

/** Arguments of one run, see ss1_layer_run(). @since 0.1 */
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
 *              .scratch   ss1_layer_scratch_bytes(layer, m) BYTES at a multiple of 64, or NULL to use the context's
 *                         scratch, which allocates only while it grows.
 *              .stream    CUDA stream; NULL on the CPU.
 *              .residual, .ldr  [m, N], desc.y_dtype; ldr >= N (0 = N); NULL for none. May be y itself with ldr = ldy,
 *                         else must not overlap y. A backend that adds none returns SS1_ERROR_UNSUPPORTED.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, ldx < K, ldy < N, overlap, misaligned, sizes that overflow);
 *         SS1_ERROR_OUT_OF_MEMORY (NULL scratch only).
 * @note Thread-safe: one layer may run on many threads, each with its own scratch or with NULL. @since 0.1
 */
SS1_API ss1_status ss1_layer_run(const ss1_layer *layer, const ss1_linear_args *args);

/** Layers that run in sequence. @since 0.1 */
typedef struct ss1_tower ss1_tower;

/**
 * Create a tower: layers that run in sequence, such as an MLP. Blocks of rows pass through all layers, so the values
 * between two layers stay in the core's cache. With few rows on many threads, and on backends that cannot
 * run blocks of rows, the tower runs layer by layer. Every row has the same bits as in a run of the single layers. The
 * tower is immutable; many threads may run it.
 * @param layers  [n] of one context; N and y_dtype of each are K and x_dtype of the next. The caller
 *                keeps them alive longer than the tower. One layer may occur more than once.
 * @param n       At least 1.
 * @param tower   Receives the tower; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, n = 0, layers that do not fit); SS1_ERROR_OUT_OF_MEMORY. @since 0.1
 */
SS1_API ss1_status ss1_tower_create(const ss1_layer *const *layers, size_t n, ss1_tower **tower);

/** Destroy a tower, not its layers, and set *tower to NULL; accepts NULL and pointers to NULL. No run may be under way.
 * @since 0.1 */
SS1_API void ss1_tower_destroy(ss1_tower **tower);

/** BYTES of scratch that a run of up to m rows needs; 0 for a NULL tower. It has a bound for all m. @since 0.1 */
SS1_API size_t ss1_tower_scratch_bytes(const ss1_tower *tower, size_t m);

/**
 * Run a tower: from x of its first layer to y of its last.
 * @param args  As for ss1_layer_run() with K and x_dtype of the first layer, N and y_dtype of the last; scratch is
 *              ss1_tower_scratch_bytes(tower, m) BYTES or NULL. residual must be NULL.
 * @return As ss1_layer_run().
 * @note Thread-safe, like ss1_layer_run(). @since 0.1
 */
SS1_API ss1_status ss1_tower_run(const ss1_tower *tower, const ss1_linear_args *args);

/** A layer's description and kernels. The layer owns the strings. @since 0.1 */
typedef struct ss1_layer_info {
    uint32_t struct_size;
    const char *kernels;        /**< e.g. "cpu sketch_f32_f32_avx512 gemm_f32_f32_14x32_avx512" */
    size_t stored_columns;      /**< Kz, without the rank */
    size_t weight_bytes;        /**< packed weights and bias */
    double flops_per_row;       /**< 2 for each multiply-add and 1 for each sketch addition that a run does */
    double flops_per_row_dense; /**< 2 K N */
    ss1_linear_desc desc;       /**< every default replaced by its value */
} ss1_layer_info;
#define SS1_LAYER_INFO_INIT \
    { sizeof(ss1_layer_info), 0, 0, 0, 0, 0, SS1_LINEAR_DESC_INIT }

/** Describe a layer. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. @since 0.1 */
SS1_API ss1_status ss1_layer_describe(const ss1_layer *layer, ss1_layer_info *info);

/* ---------------------------------------------------------------- models */

/** A loaded model. @since 0.1 */
typedef struct ss1_model ss1_model;
/** The activations of one caller of a model. @since 0.1 */
typedef struct ss1_session ss1_session;
/** A tokenizer, see text.h. @since 0.1 */
typedef struct ss1_tokenizer ss1_tokenizer;

/**
 * Options of ss1_model_load().
 *   .random_weights  1: draw the tensors from N(0, 0.02^2) by .seed instead of reading them; model.safetensors need not
 *                    exist. For measurements of a shape.
 *   .weight_dtype    f32, bf16 or i8: the type of the weights of every linear layer, overriding config.json; see
 *                    ss1_linear_desc. 0 = the type in config.json, f32 where it gives none.
 *   .map_tables      1: map the files of a DLRM's embedding tables instead of copying them. Loading then reads none of
 *                    them: bytes enter memory (shared by processes) at their first lookup and may leave it again, and
 *                    nothing checks that values are finite. Keep the files unchanged while the model lives: a file that
 *                    shrinks ends the process with SIGBUS. The file must store a table with the dtype in config.json at
 *                    a multiple of its element size, else SS1_ERROR_UNSUPPORTED. BERT ignores it.
 * @since 0.1
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
 * Load a model directory: config.json and model.safetensors (or its sharded index). Families: "dlrm" and "bert", an
 * unchanged Hugging Face directory (BERT and its relatives, listed in docs/models.md; ...Model, ...ForMaskedLM,
 * ...ForSequenceClassification, ...ForTokenClassification, ...ForQuestionAnswering, BertForPreTraining without the head
 * for pairs). A directory of sentence-transformers loads unchanged, too: modules.json with Transformer, Pooling,
 * SpladePooling, Dense, LayerNorm, Normalize; other modules are refused by name. The model copies the files, which may
 * vanish afterwards, unless map_tables is set. Only ss1_model_update_rows() changes it; many threads may use it. Linear
 * layers read and write f32 whatever the type of their weights; only inside an MLP of a DLRM a layer with bf16 or i8
 * weights passes bf16 to a next layer with such weights.
 * @param directory  Path; @param options NULL for defaults.
 * @param model      Receives the model; the caller owns one reference. Not written on error.
 * @return SS1_OK; SS1_ERROR_IO (missing or unreadable file); SS1_ERROR_FORMAT (a file breaks a rule: file, tensor
 *         or key, value and rule are in the message); SS1_ERROR_UNSUPPORTED (by name; also another weight_dtype);
 *         SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_OUT_OF_MEMORY. @since 0.1
 */
SS1_API ss1_status ss1_model_load(ss1_context *context, const char *directory, const ss1_model_options *options,
                                  ss1_model **model);

/** Release one reference and set *model to NULL; accepts NULL and pointers to NULL. Sessions keep their model alive.
 * @since 0.1 */
SS1_API void ss1_model_destroy(ss1_model **model);

/** A named array: input or output of a session. @since 0.1 */
typedef struct ss1_tensor {
    uint32_t struct_size; /**< @since 0.2 */
    const char *name;
    ss1_dtype dtype;
    uint32_t rank;
    int64_t shape[4]; /**< elements; -1 where a size varies (only in ss1_model_input() and ss1_model_output()) */
    void *data;       /**< row-major, no padding; runs never write to inputs */
    size_t bytes;     /**< size of data */
} ss1_tensor;
#define SS1_TENSOR_INIT \
    { sizeof(ss1_tensor), 0, (ss1_dtype)0, 0, {0, 0, 0, 0}, 0, 0 }

/**
 * Describe the i-th input; data is NULL, bytes 0, shape -1 where it varies. The model owns the name. B: rows or
 * sequences, D: dense features, T: tokens; features and tables have the order of config.json.
 *   DLRM  dense_x f32 [B, D]; indices i64 [total]; offsets i64 [tables, B]: bag (t, b) is indices[offsets[t,b] .. next
 *         offset in row-major order), the last one ends at total; optional weights f32 [total]: factors of the rows
 *         (default: all 1). A mean divides by the number of indices whatever the weights.
 *         Tables on the user's side ("side": "user" in config.json) do not count among these `tables`: their bags are
 *         user_indices i64 [user_total], user_offsets i64 [user_tables, B] and optional user_weights f32 [user_total].
 *         One user, many items: dense_x may be [1, D] and user_offsets [user_tables, 1], each independently. The model
 *         then computes them once for all B rows, with the same bits as if they were repeated.
 *   BERT  input_ids i64 [B, T]; optional attention_mask i64 [B, T] (1 = token, 0 = padding; default: all 1),
 *         token_type_ids i64 [B, T] (default: all 0; DistilBERT has none); only where the pooling of a directory of
 *         sentence-transformers has include_prompt false: optional prompt_tokens i64 [B] (default: all 0), the tokens
 *         at the beginning of each sequence that sentence_embedding leaves out.
 *         Padding after the tokens of a sequence (a mask of ones, then zeros) costs nothing: a batch costs the sum of
 *         its lengths, a sequence has the same bits in any batch and with any padding, and padding gets 0 in hidden
 *         states and in all outputs of heads. With any other mask the model computes all T tokens of the sequence and
 *         only hides them from each other, like Hugging Face.
 * @param tensor  Receives the description; set struct_size (SS1_TENSOR_INIT).
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT if i is not below ss1_model_info.n_inputs. @since 0.1
 */
SS1_API ss1_status ss1_model_input(const ss1_model *model, size_t i, ss1_tensor *tensor);

/**
 * Describe the i-th output, like ss1_model_input().
 *   DLRM  probability f32 [B] = 1 / (1 + exp(-logits)), clamped to [t, 1 - t] by loss_threshold t; logits f32 [B].
 *   BERT  last_hidden_state f32 [B, T, H]; pooled f32 [B, H] if the model has a pooler; sentence_embedding f32
 *         [B, embedding_size] if the directory is one of sentence-transformers with a pooling: its modules applied to
 *         the tokens without padding; the head's outputs: logits f32
 *         [B, labels] (sequences), [B, T, labels] (tokens) or [B, T, vocab_size] (masked words), start_logits and
 *         end_logits f32 [B, T] (answers), or replaced_logits f32 [B, T] (ELECTRA's discriminator). A session holds
 *         all of them: ss1_session_bytes() includes, for example, the scores of 30,522 words for each of B T tokens. If
 *         T = 0, outputs that are not empty are 0.
 * @param tensor  Receives the description; set struct_size (SS1_TENSOR_INIT).
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT if i is not below ss1_model_info.n_outputs. @since 0.1
 */
SS1_API ss1_status ss1_model_output(const ss1_model *model, size_t i, ss1_tensor *tensor);

/**
 * One linear layer of a model. The model owns the name and the strings in `layer`. Queries, keys and values with the
 * same mapping and type run as one layer; each reports its share of the bytes and FLOPs.
 * @since 0.1
 */
typedef struct ss1_model_layer_info {
    uint32_t struct_size;
    const char *name; /**< e.g. "top_l.2", "encoder.layer.0.intermediate.dense" */
    ss1_layer_info layer;
} ss1_model_layer_info;
#define SS1_MODEL_LAYER_INFO_INIT \
    { sizeof(ss1_model_layer_info), 0, SS1_LAYER_INFO_INIT }

/**
 * Describe the i-th linear layer, in the order of execution.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT if i is not below ss1_model_info.n_layers. @since 0.1
 */
SS1_API ss1_status ss1_model_layer(const ss1_model *model, size_t i, ss1_model_layer_info *info);

/** Family, size and limits of a model. The model owns the strings. @since 0.1 */
typedef struct ss1_model_info {
    uint32_t struct_size;
    const char *family; /**< "dlrm", "bert" (and its relatives: one graph) or "static" (embeddings) */
    const char *config; /**< text of config.json */
    size_t n_inputs, n_outputs, n_layers;
    size_t weight_bytes;        /**< memory of the weights */
    size_t parameters;          /**< number of stored values: tables, matrices, biases */
    size_t n_labels;            /**< classes of a classifier's logits, see ss1_model_label(); 0: no classifier */
    size_t max_tokens;          /**< BERT: the longest sequence; 0 for DLRM, like the next two */
    size_t vocab_size;          /**< BERT: input_ids are below it */
    size_t type_vocab_size;     /**< BERT: token_type_ids are below it; 0: the model takes none */
    size_t n_stages;            /**< stages of a run, see ss1_model_stage(); 0: a backend runs it whole. @since 0.2 */
    size_t embedding_size;      /**< width of the output sentence_embedding; 0: the model has none. @since 0.2 */
    size_t n_prompts;           /**< texts to put in front of others, see ss1_model_prompt(). @since 0.2 */
    const char *default_prompt; /**< name of the prompt for texts without another; NULL: none. @since 0.2 */
    const char *similarity; /**< how to compare embeddings: "cosine", "dot", "euclidean" or "manhattan"; NULL without
                                 embeddings. @since 0.2 */
    const char
        *score_activation; /**< what makes scores of the logits of sequences, by the rule of sentence-transformers'
                              CrossEncoder, e.g. "Sigmoid" or "Identity"; NULL without such logits. @since 0.2 */
} ss1_model_info;
#define SS1_MODEL_INFO_INIT \
    { sizeof(ss1_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Describe a model. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. @since 0.1 */
SS1_API ss1_status ss1_model_describe(const ss1_model *model, ss1_model_info *info);

/**
 * Name of class i of a classifier's logits (of a sequence or of each token): id2label of config.json, or "LABEL_<i>"
 * where config.json has no name.
 * @param label  Receives the name, UTF-8, owned by the model. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT if i is not below ss1_model_info.n_labels. @since 0.1
 */
SS1_API ss1_status ss1_model_label(const ss1_model *model, size_t i, const char **label);

/**
 * Prompt i: a text that config_sentence_transformers.json names ("query", "passage", ...). It is put in front of a text
 * unchanged, before the tokenizer.
 * @param name, text  Receive name and text, UTF-8, owned by the model. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT if i is not below ss1_model_info.n_prompts. @since 0.2
 */
SS1_API ss1_status ss1_model_prompt(const ss1_model *model, size_t i, const char **name, const char **text);

/**
 * Name of stage i of a run, in the order of ss1_session_time_stages().
 *   DLRM  lookup (embedding bags), bottom (MLP), interaction (with the cross network), top (MLP, with the
 *         probabilities).
 *   BERT  embed, qkv (queries, keys and values), attention, attention_output (its output layer), intermediate (with the
 *         activation), output, norm (the norms of the encoder layers), heads (with the unpacking of hidden states).
 * @param name  Receives the name, owned by the library, static storage. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT if i is not below ss1_model_info.n_stages. @since 0.2
 */
SS1_API ss1_status ss1_model_stage(const ss1_model *model, size_t i, const char **name);

/** Sums over the rows that the layers of one model have read, see calibrate.h. @since 0.2 */
typedef struct ss1_calibration ss1_calibration;

struct ss1_layer_rows;
/** Sees what a linear layer is about to read, see calibrate.h. Must return normally and call no function of its session
 * but ss1_session_cancel(). @since 0.2 */
typedef void (*ss1_observe_fn)(void *user, const struct ss1_layer_rows *rows);

/**
 * Bounds of a session, and who looks on.
 *   .max_batch   Rows (DLRM) or sequences (BERT) of one run; 0 = 1.
 *   .max_tokens  BERT: tokens of one sequence; 0 = the model's limit (ss1_model_info.max_tokens). DLRM ignores it.
 *   .observe     Called before each linear layer of a run, on the thread of ss1_session_run(); NULL: nobody looks. All
 *                threads then take one layer after the other, with the same bits.
 *   .observe_user  Its first argument.
 * @since 0.1
 */
typedef struct ss1_session_options {
    uint32_t struct_size;
    size_t max_batch;
    size_t max_tokens;
    ss1_observe_fn observe; /**< @since 0.2 */
    void *observe_user;     /**< @since 0.2 */
} ss1_session_options;
#define SS1_SESSION_OPTIONS_INIT \
    { sizeof(ss1_session_options), 0, 0, 0, 0 }

/**
 * BYTES that a session with these bounds would allocate.
 * @param options  NULL for defaults.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (bounds that overflow, max_tokens above the model's limit). @since 0.1
 */
SS1_API ss1_status ss1_session_bytes(const ss1_model *model, const ss1_session_options *options, size_t *bytes);

/**
 * Create a session: the activations of one caller. This thread allocates all memory and writes to it (so the memory
 * lies on this thread's NUMA node). A run allocates nothing and, except for the first, in which the pool's threads
 * start, causes no page fault.
 * @param options  NULL for defaults. @param session Receives the session; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT as ss1_session_bytes(); SS1_ERROR_UNSUPPORTED (`observe` of a model that a
 *         backend runs whole); SS1_ERROR_OUT_OF_MEMORY. @since 0.1
 */
SS1_API ss1_status ss1_session_create(ss1_model *model, const ss1_session_options *options, ss1_session **session);

/** Destroy a session and set *session to NULL; accepts NULL and pointers to NULL. No run may be under way.
 * @since 0.1 */
SS1_API void ss1_session_destroy(ss1_session **session);

/**
 * Run the model.
 * @param inputs   [n_inputs] tensors by name, in any order; bytes must equal the size of the shape. Optional inputs may
 *                 be left out.
 * @param outputs  [n_outputs] the wanted outputs by name. The run reads dtype, data and bytes (at least the size of the
 *                 output) and writes rank and shape. They overlap neither each other nor inputs. A BERT computes only
 *                 the heads of wanted outputs.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (unknown, missing or duplicate name, dtype, rank, shape, bytes; batch
 *         above max_batch; an index or offset out of range: the message names table, position, value and row count);
 *         SS1_ERROR_CANCELLED; SS1_ERROR_DEADLINE. A session stays usable after any error.
 * @note One thread at a time, a second one gets SS1_ERROR_INVALID_ARGUMENT. Allocates nothing. @since 0.1
 * @note Where a backend runs the model whole, the contents of outputs are undefined after an error.
 */
SS1_API ss1_status ss1_session_run(ss1_session *session, const ss1_tensor *inputs, size_t n_inputs, ss1_tensor *outputs,
                                   size_t n_outputs);

/**
 * Measure the stages of runs: from now on each run adds the SECONDS of stage i, see ss1_model_stage(), to seconds[i].
 * Their sum is the time of the run without checks, copies of outputs and the start and end of threads. If threads
 * process blocks of rows through all stages at their own pace, the times are those of the slowest thread. A session
 * without measurement has no extra cost.
 * @param seconds  [n], owned by the caller, who keeps it alive until the session is destroyed or the next call of this
 *                 function; NULL with n = 0 ends the measurement.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (n is not ss1_model_info.n_stages; a run is in progress).
 * @note Between runs. @since 0.1
 */
SS1_API ss1_status ss1_session_time_stages(ss1_session *session, double *seconds, size_t n);

/**
 * Cancel the current run of this session. The run returns SS1_ERROR_CANCELLED at the end of its present stage (a linear
 * layer of a block of rows, an attention; embedding bags or interaction of a block of a DLRM's rows) and writes no
 * output; a run that is about to return may still return SS1_OK. Without a current run nothing happens, and later runs
 * are not affected: to drop a request that has not started is the caller's task.
 * @param session  Must live until this returns. NULL does nothing.
 * @note Any thread, any time; lock free, also for use in a signal handler. @since 0.1
 */
SS1_API void ss1_session_cancel(ss1_session *session);

/**
 * Set the deadline of each later run of this session. A run checks it between its stages and at its end; a late run
 * writes no output and returns SS1_ERROR_DEADLINE. So a result with SS1_OK was in time, and a late request occupies its
 * threads for at most one stage after its deadline.
 * @param seconds  From the call of ss1_session_run(); at least 0, finite; 0 = none, the default.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, seconds negative or not finite; a run is in progress).
 * @note Between runs. @since 0.1
 */
SS1_API ss1_status ss1_session_set_deadline(ss1_session *session, double seconds);

#ifdef __cplusplus
}
#endif

#include "bags.h"
#include "calibrate.h"
#include "convert.h"
#include "memory.h"
#include "text.h"

#endif
