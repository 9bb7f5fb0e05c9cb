/* SPDX-License-Identifier: Apache-2.0 */
/* Score a batch with a DLRM directory from a C program: load, create a session, run, print the probabilities.
   Build: cc score_dlrm.c $(pkg-config --cflags --libs ss1)          Run: ./score_dlrm [directory [backend]]
   The backend "cuda" runs the same program on a GPU. */
#include <ss1/ss1.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 3 };

static int failed(ss1_status status) {
    if (status != SS1_OK) fprintf(stderr, "%s: %s\n", ss1_status_name(status), ss1_last_error());
    return status != SS1_OK;
}

/* Makes rows that differ only in the index into the first table (the users, for example). */
static int score(ss1_session *session, size_t features, size_t tables, float *probability) {
    float *dense = malloc(ROWS * features * sizeof *dense);
    int64_t *indices = malloc(ROWS * tables * sizeof *indices), *offsets = malloc(ROWS * tables * sizeof *offsets);
    ss1_status status = SS1_ERROR_OUT_OF_MEMORY;
    if (dense && indices && offsets) {
        for (size_t i = 0; i < ROWS * features; ++i) dense[i] = 0.5f;
        for (size_t i = 0; i < ROWS * tables; ++i) { /* bag i = table * ROWS + row holds one index */
            indices[i] = i < ROWS ? (int64_t)i : 0;
            offsets[i] = (int64_t)i;
        }
        ss1_tensor inputs[] = {{sizeof(ss1_tensor),
                                "dense_x",
                                SS1_DTYPE_F32,
                                2,
                                {ROWS, (int64_t)features},
                                dense,
                                ROWS * features * sizeof *dense},
                               {sizeof(ss1_tensor),
                                "indices",
                                SS1_DTYPE_I64,
                                1,
                                {(int64_t)(ROWS * tables)},
                                indices,
                                ROWS * tables * sizeof *indices},
                               {sizeof(ss1_tensor),
                                "offsets",
                                SS1_DTYPE_I64,
                                2,
                                {(int64_t)tables, ROWS},
                                offsets,
                                ROWS * tables * sizeof *offsets}};
        ss1_tensor output = {sizeof(ss1_tensor),        "probability", SS1_DTYPE_F32, 0, {0}, probability,
                             ROWS * sizeof *probability};
        status = ss1_session_run(session, inputs, 3, &output, 1);
    }
    free(offsets);
    free(indices);
    free(dense);
    return failed(status);
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 ? argv[1] : "examples/models/insteval-ss1";
    ss1_context *context = NULL;
    ss1_model *model = NULL;
    ss1_session *session = NULL;
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = ROWS;
    ss1_context_options machine = SS1_CONTEXT_OPTIONS_INIT;
    machine.backend = argc > 2 ? argv[2] : "cpu";
    if (failed(ss1_context_create(&machine, &context))) return 1;
    if (failed(ss1_model_load(context, directory, NULL, &model))) return 1;
    if (failed(ss1_session_create(model, &options, &session))) return 1;

    /* dense_x is [batch, features], offsets [tables, batch]; -1 means the batch size. */
    ss1_tensor dense = SS1_TENSOR_INIT, offsets = SS1_TENSOR_INIT;
    float probability[ROWS];
    if (failed(ss1_model_input(model, 0, &dense)) || failed(ss1_model_input(model, 2, &offsets))) return 1;
    if (score(session, (size_t)dense.shape[1], (size_t)offsets.shape[0], probability)) return 1;
    for (int i = 0; i < ROWS; ++i) printf("row %d: probability %.6f\n", i, (double)probability[i]);

    ss1_session_destroy(&session);
    ss1_model_destroy(&model);
    ss1_context_destroy(&context);
    return 0;
}
