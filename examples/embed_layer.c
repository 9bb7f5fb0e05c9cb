/* SPDX-License-Identifier: Apache-2.0 */
/* Embed one SS1 layer in a C program: project a dense weight, create the layer, run it, compare with the dense product.
   Build: cc embed_layer.c $(pkg-config --cflags --libs ss1) -lm */
#include <math.h>
#include <ss1/ss1.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 4, K = 512, N = 256, C = 4 };

static int failed(ss1_status status) {
    if (status != SS1_OK) fprintf(stderr, "%s: %s\n", ss1_status_name(status), ss1_last_error());
    return status != SS1_OK;
}

static float uniform(void) {
    return (float)rand() / (float)RAND_MAX - 0.5f;
}

/* Returns the largest difference between the layer's y and x . weight^T. */
static double worst_difference(const float *x, const float *weight, const float *y) {
    double worst = 0;
    for (int i = 0; i < M; ++i)
        for (int n = 0; n < N; ++n) {
            double sum = 0;
            for (int k = 0; k < K; ++k) sum += (double)x[i * K + k] * weight[n * K + k];
            if (fabs(sum - y[i * N + n]) > worst) worst = fabs(sum - y[i * N + n]);
        }
    return worst;
}

int main(void) {
    static float weight[N * K], tied[N * K], x[M * K], y[M * N];
    for (int i = 0; i < N * K; ++i) weight[i] = uniform();
    for (int i = 0; i < M * K; ++i) x[i] = uniform();

    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = K;
    desc.N = N;
    desc.c = C; /* a quarter of the weights and products; defaults for all other fields */
    size_t stored_columns = 0;
    if (failed(ss1_linear_resolve(&desc, &stored_columns))) return 1;

    float *z = malloc(N * stored_columns * sizeof *z);
    if (!z || failed(ss1_project(&desc, weight, K, NULL, z, stored_columns))) return 1;

    ss1_context *context = NULL;
    ss1_layer *layer = NULL;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z;
    if (failed(ss1_context_create(NULL, &context))) return 1;
    if (failed(ss1_layer_create(context, &desc, &weights, &layer))) return 1;

    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = M;
    args.x = x;
    args.y = y;
    if (failed(ss1_layer_run(layer, &args))) return 1;

    /* The reference: the dense weight of the stored values. */
    if (failed(ss1_expand(&desc, z, stored_columns, tied, K))) return 1;
    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    if (failed(ss1_layer_describe(layer, &info))) return 1;
    printf("%s: %zu of %d stored values, %.0f of %.0f FLOPs a row, largest difference to the expanded weight %.2g\n",
           info.kernels, N * stored_columns, N * K, info.flops_per_row, info.flops_per_row_dense,
           worst_difference(x, tied, y));
    const int wrong = worst_difference(x, tied, y) > 1e-4;

    ss1_layer_destroy(&layer);
    ss1_context_destroy(&context);
    free(z);
    return wrong;
}
