/* SPDX-License-Identifier: Apache-2.0 */
/* A backend without a device: it makes the plugin interface testable anywhere. It sets y[i,n] = x[i,0]. */
#include <stdlib.h>
#include <string.h>

#include "ss1/backend.h"

static const ss1_backend_host *host;

static int score(const char **reason) {
    *reason = "SS1_DUMMY_UNUSABLE is set";
    return getenv("SS1_DUMMY_UNUSABLE") ? 0 : 1;
}

static ss1_status layer_create(const ss1_context *context, const ss1_linear_desc *desc,
                               const ss1_linear_weights *weights, void **state) {
    (void)context, (void)weights;
    if (desc->c != 1) return host->fail(SS1_ERROR_UNSUPPORTED, "dummy: c must be 1");
    *state = malloc(sizeof *desc);
    if (!*state) return host->fail(SS1_ERROR_OUT_OF_MEMORY, "dummy: no memory");
    memcpy(*state, desc, sizeof *desc);
    return SS1_OK;
}

static size_t layer_scratch(const void *state, size_t m) {
    (void)state, (void)m;
    return 0;
}

static ss1_status layer_run(const void *state, const ss1_linear_args *args) {
    const ss1_linear_desc *desc = state;
    for (size_t i = 0; i < args->m; ++i)
        for (size_t n = 0; n < desc->N; ++n)
            ((float *)args->y)[i * args->ldy + n] = ((const float *)args->x)[i * args->ldx];
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
