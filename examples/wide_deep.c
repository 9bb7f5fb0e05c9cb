/* SPDX-License-Identifier: Apache-2.0 */
/* Serve a Wide & Deep model (docs/recommenders.md) and compare it with plain loops. The wide part is a bag of width 1.
   The deep part is a tower over bags beside dense features; the last layer adds the wide part. Build: cc wide_deep.c
   $(pkg-config --cflags --libs ss1) -lm */
#include <math.h>
#include <ss1/ss1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 5, CROSSES = 3, BUCKETS = 1000, TABLES = 2, ROWS = 100, D = 16, DENSE = 7, K = TABLES * D + DENSE };
enum { LAYERS = 3, H = 64 }; /* no layer has more than H inputs or outputs */
static const int width[LAYERS + 1] = {K, H, 32, 1};
/* What training gives; here random numbers. Weights are [N, K] as in PyTorch; a kernel of Keras is [K, N]. */
static float wide[BUCKETS], table[TABLES][ROWS * D], weight[LAYERS][H * H], bias[LAYERS][H];

/* A request of M rows. Bags are indices and the places where they begin: all bags of table 0, then all of table 1. */
static int64_t crosses[M * CROSSES], cross_offsets[M], ids[TABLES * M], offsets[TABLES * M];
static float dense[M * DENSE];

static int failed(ss1_status status) {
    if (status != SS1_OK) fprintf(stderr, "%s: %s\n", ss1_status_name(status), ss1_last_error());
    return status != SS1_OK;
}

static void randomise(float *values, int n) {
    for (int i = 0; i < n; ++i) values[i] = 0.4f * (float)rand() / (float)RAND_MAX - 0.2f;
}

/* Writes the logits. The leading dimension K of y leaves room for the dense features behind the bags of each row. */
static int run(const ss1_bags *wide_bags, const ss1_bags *bags, const ss1_tower *tower, const ss1_layer *head,
               float *y) {
    static float x[M * K], hidden[M * 32], sums[M];
    ss1_bags_args cross = SS1_BAGS_ARGS_INIT, id = SS1_BAGS_ARGS_INIT;
    ss1_linear_args deep = SS1_LINEAR_ARGS_INIT, last = SS1_LINEAR_ARGS_INIT;
    cross.batch = M, cross.total = M * CROSSES, cross.indices = crosses, cross.offsets = cross_offsets, cross.y = sums;
    id.batch = M, id.total = TABLES * M, id.indices = ids, id.offsets = offsets, id.y = x, id.ldy = K;
    deep.m = M, deep.x = x, deep.y = hidden;
    last.m = M, last.x = hidden, last.y = y, last.residual = sums;
    for (int i = 0; i < M; ++i) memcpy(x + i * K + TABLES * D, dense + i * DENSE, DENSE * sizeof *x);
    return failed(ss1_bags_run(wide_bags, &cross)) || failed(ss1_bags_run(bags, &id)) ||
           failed(ss1_tower_run(tower, &deep)) || failed(ss1_layer_run(head, &last));
}

static double plain_logit(int row) {
    double x[H] = {0}, y[H] = {0}, logit = 0;
    for (int t = 0; t < TABLES; ++t)
        for (int j = 0; j < D; ++j) x[t * D + j] = table[t][ids[t * M + row] * D + j];
    for (int j = 0; j < DENSE; ++j) x[TABLES * D + j] = dense[row * DENSE + j];
    for (int l = 0; l < LAYERS; ++l, memcpy(x, y, sizeof x))
        for (int n = 0; n < width[l + 1]; ++n) {
            y[n] = bias[l][n];
            for (int k = 0; k < width[l]; ++k) y[n] += (double)weight[l][n * width[l] + k] * x[k];
            if (l + 1 < LAYERS && y[n] < 0) y[n] = 0;
        }
    for (int i = 0; i < CROSSES; ++i) logit += wide[crosses[row * CROSSES + i]];
    return logit + y[0];
}

int main(void) {
    float logits[M];
    double worst = 0;
    randomise(wide, BUCKETS), randomise(table[0], TABLES * ROWS * D), randomise(dense, M * DENSE);
    randomise(weight[0], LAYERS * H * H), randomise(bias[0], LAYERS * H);
    for (int i = 0; i < M * CROSSES; ++i) crosses[i] = rand() % BUCKETS;
    for (int i = 0; i < M; ++i) cross_offsets[i] = i * CROSSES;
    for (int i = 0; i < TABLES * M; ++i) ids[i] = rand() % ROWS, offsets[i] = i; /* one id a bag */

    ss1_context *context = NULL;
    ss1_bags *wide_bags = NULL, *bags = NULL;
    ss1_layer *layers[LAYERS] = {0};
    ss1_tower *tower = NULL;
    const ss1_table cross = {sizeof cross, "crosses", SS1_TABLE_F32, SS1_POOLING_SUM, BUCKETS, wide};
    const ss1_table tables[] = {{sizeof cross, "user", SS1_TABLE_F32, SS1_POOLING_SUM, ROWS, table[0]},
                                {sizeof cross, "item", SS1_TABLE_F32, SS1_POOLING_SUM, ROWS, table[1]}};
    int wrong = failed(ss1_context_create(NULL, &context)) ||
                failed(ss1_bags_create(context, 1, &cross, 1, &wide_bags)) ||
                failed(ss1_bags_create(context, D, tables, TABLES, &bags));
    for (int l = 0; l < LAYERS && !wrong; ++l) {
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        desc.K = width[l], desc.N = width[l + 1],
        desc.activation = l + 1 < LAYERS ? SS1_ACTIVATION_RELU : SS1_ACTIVATION_NONE;
        weights.z = weight[l], weights.bias = bias[l]; /* an SS1 layer: desc.c, and z from ss1_linear_fit() */
        wrong = failed(ss1_layer_create(context, &desc, &weights, &layers[l]));
    }
    if (wrong || failed(ss1_tower_create((const ss1_layer *const *)layers, LAYERS - 1, &tower)) ||
        run(wide_bags, bags, tower, layers[LAYERS - 1], logits))
        return 1;
    for (int i = 0; i < M; ++i) {
        worst = fmax(worst, fabs(logits[i] - plain_logit(i)));
        printf("row %d: probability %.4f\n", i, 1 / (1 + exp(-(double)logits[i])));
    }
    printf("largest difference to plain loops: %.2g\n", worst);
    ss1_tower_destroy(&tower);
    for (int l = 0; l < LAYERS; ++l) ss1_layer_destroy(&layers[l]);
    ss1_bags_destroy(&bags), ss1_bags_destroy(&wide_bags), ss1_context_destroy(&context);
    return !(worst < 1e-5);
}
