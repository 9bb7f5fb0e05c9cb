/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file peer.h  The interface of a library that is compared with ss1: one shared module with one function.
 *
 * `ss1-bench linear` loads every libpeer-*.so of a folder. ss1-bench itself links none of these libraries and includes
 * none of their headers.
 */
#ifndef SS1_BENCH_PEER_H
#define SS1_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SS1_PEER_ABI 1

/** Type of x and of the weights. */
typedef enum ss1_peer_precision {
    SS1_PEER_F32 = 0,
    SS1_PEER_BF16 = 1,
    SS1_PEER_U8S8 = 2 /**< real x = x_scale (x - 128), real weight[j,:] = weight_scale[j] weight[j,:] */
} ss1_peer_precision;

/** Type of y. */
typedef enum ss1_peer_output { SS1_PEER_TO_F32 = 0, SS1_PEER_TO_BF16 = 1 } ss1_peer_output;

/**
 * y[m,n] = act(x[m,k] . weight[n,k]^T + bias[n]), row-major without gaps, 64-byte aligned. x and y keep their address
 * until destroy, but their values change; the caller may free weight, weight_scale and bias after create.
 */
typedef struct ss1_peer_problem {
    size_t m, k, n;
    ss1_peer_precision precision;
    ss1_peer_output output;
    int activation; /**< a value of ss1_activation */
    const void *x, *weight;
    const float *bias;
    void *y;
    float x_scale;
    const float *weight_scale; /**< [n] */
    size_t copies;             /**< of the weights, each packed in the library's best way */
    uint32_t threads;
} ss1_peer_problem;

typedef struct ss1_peer {
    uint32_t abi;     /**< SS1_PEER_ABI; checked before any other field is read */
    const char *name; /**< "oneDNN" */
    const char *version;
    size_t max_copies; /**< 0 = any number; set where a copy costs much more than its weights */
    /** Returns NULL if it cannot run the problem, with the reason in `why` (of why_bytes). */
    void *(*create)(const ss1_peer_problem *problem, char *why, size_t why_bytes);
    /** Multiplies with copy number `copy` < copies. @return 0, or 1 for a failure. */
    int (*run)(void *handle, size_t copy);
    void (*destroy)(void *handle);
} ss1_peer;

/** The module's one symbol, `ss1_peer_entry`. @return NULL if the library is missing, with its name and place in `why`.
 */
typedef const ss1_peer *(*ss1_peer_entry_fn)(char *why, size_t why_bytes);

#ifdef __cplusplus
}
#define SS1_PEER_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#endif
