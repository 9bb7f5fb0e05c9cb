/* SPDX-License-Identifier: Apache-2.0 */
/* A backend without a device: it makes the plugin interface testable anywhere. Dense layers by plain loops. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ss1/backend.h"

static const ss1_backend_host *host;

struct layer {
    ss1_linear_desc desc;
    float values[]; /* z [N, K], then the bias */
};

static int score(const char **reason) {
    *reason = "SS1_DUMMY_UNUSABLE is set";
    return getenv("SS1_DUMMY_UNUSABLE") ? 0 : 1;
}

static ss1_status layer_create(const ss1_context *context, const ss1_linear_desc *desc,
                               const ss1_linear_weights *weights, void **state) {
    (void)context;
    const size_t N = desc->N, K = desc->K;
    if (desc->c != 1) return host->fail(SS1_ERROR_UNSUPPORTED, "dummy: c must be 1");
    struct layer *made = malloc(sizeof *made + N * (K + 1) * sizeof *made->values);
    if (!made) return host->fail(SS1_ERROR_OUT_OF_MEMORY, "dummy: no memory");
    made->desc = *desc;
    for (size_t n = 0; n < N; ++n) {
        memcpy(made->values + n * K, weights->z + n * (weights->ldz ? weights->ldz : K), K * sizeof *made->values);
        made->values[N * K + n] = weights->bias ? weights->bias[n] : 0;
    }
    *state = made;
    return SS1_OK;
}

static size_t layer_scratch(const void *state, size_t m) {
    (void)state, (void)m;
    return 0;
}

static ss1_status layer_run(const void *state, const ss1_linear_args *args) {
    const struct layer *layer = state;
    const size_t N = layer->desc.N, K = layer->desc.K;
    if (args->residual) return host->fail(SS1_ERROR_UNSUPPORTED, "dummy: adds no residual");
    for (size_t i = 0; i < args->m; ++i)
        for (size_t n = 0; n < N; ++n) {
            double sum = layer->values[N * K + n];
            for (size_t k = 0; k < K; ++k)
                sum += (double)((const float *)args->x)[i * args->ldx + k] * layer->values[n * K + k];
            if (layer->desc.activation == SS1_ACTIVATION_GELU) sum = sum / 2 * (1 + erf(sum * 0.70710678118654752));
            if (layer->desc.activation == SS1_ACTIVATION_TANH) sum = tanh(sum);
            ((float *)args->y)[i * args->ldy + n] = (float)sum;
        }
    return SS1_OK;
}

static void layer_describe(const void *state, ss1_layer_info *info) {
    (void)state;
    info->kernels = "dummy";
}

static void layer_destroy(void *state) {
    free(state);
}

SS1_API const ss1_backend *ss1_backend_entry(const ss1_backend_host *given) {
    static ss1_backend backend = {SS1_BACKEND_ABI, sizeof(ss1_backend), "dummy",        score,        layer_create,
                                  layer_scratch,   layer_run,           layer_describe, layer_destroy};
    host = given;
    backend.abi = getenv("SS1_DUMMY_ABI") ? SS1_BACKEND_ABI + 1 : SS1_BACKEND_ABI;
    return given->abi == SS1_BACKEND_ABI ? &backend : NULL;
}
