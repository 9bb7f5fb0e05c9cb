/* SPDX-License-Identifier: Apache-2.0 */
/* Two backends without a device, which make the plugin interface testable anywhere. Dense f32 layers by plain loops.
 * "dummy" fills every slot: it adds residuals, stacks parts, runs rows on one thread and, if SS1_DUMMY_MODELS is set,
 * runs BERTs whole. "bare", built with SS1_BARE, fills the required slots alone.
 * SS1_DUMMY_FAULT makes a slot break its rules: "null layer", "null model" and "null session" succeed without a result,
 * "mute run" fails without a message. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ss1/backend.h"

#ifdef SS1_BARE
#define NAME "bare"
#else
#define NAME "dummy"
#endif

static const ss1_backend_host *host;

static int has_fault(const char *fault) {
    const char *wanted = getenv("SS1_DUMMY_FAULT");
    return wanted && strcmp(wanted, fault) == 0;
}

/* ---------------------------------------------------------------- layers */

struct layer {
    const ss1_context *context;
    ss1_linear_desc desc;
    size_t outputs;
    float values[]; /* z [outputs, K], then the bias */
};

static int score(const char **reason) {
    *reason = "SS1_DUMMY_UNUSABLE is set";
    return getenv("SS1_DUMMY_UNUSABLE") ? 0 : 1;
}

static int supports(const ss1_linear_desc *desc, int residual, size_t parts, const char **reason) {
    *reason = "c must be 1";
    if (desc->c != 1) return 0;
    *reason = "it runs f32 alone";
    if (desc->x_dtype != SS1_DTYPE_F32 || desc->weight_dtype != SS1_DTYPE_F32 || desc->y_dtype != SS1_DTYPE_F32)
        return 0;
#ifdef SS1_BARE
    *reason = "it adds no residual and stacks no layers";
    return !residual && parts == 1;
#else
    (void)residual, (void)parts;
    return 1;
#endif
}

static ss1_status layer_create(const ss1_context *context, const ss1_linear_desc *desc, size_t parts,
                               const ss1_linear_weights *weights, void **state) {
    const size_t N = parts * desc->N, K = desc->K;
    if (has_fault("null layer")) return *state = NULL, SS1_OK;
    ss1_info info = SS1_INFO_INIT;
    const ss1_status status = host->get_info(context, &info);
    if (status != SS1_OK) return status;
    if (strcmp(info.backend, NAME) != 0)
        return host->fail(SS1_ERROR_INTERNAL, NAME ": the context has another backend");
    struct layer *made = malloc(sizeof *made + N * (K + 1) * sizeof *made->values);
    if (!made) return host->fail(SS1_ERROR_OUT_OF_MEMORY, NAME ": no memory");
    made->context = context;
    made->desc = *desc;
    made->outputs = N;
    for (size_t n = 0; n < N; ++n) {
        memcpy(made->values + n * K, weights->z + n * weights->ldz, K * sizeof *made->values);
        made->values[N * K + n] = weights->bias ? weights->bias[n] : 0;
    }
    host->log(context, SS1_LOG_INFO, NAME ": made a layer");
    *state = made;
    return SS1_OK;
}

static size_t layer_scratch(const void *state, size_t m) {
    (void)state, (void)m;
    return 0;
}

static double activate(ss1_activation activation, double v) {
    switch (activation) {
        case SS1_ACTIVATION_RELU:
            return v > 0 ? v : 0;
        case SS1_ACTIVATION_GELU:
            return v / 2 * (1 + erf(v * 0.70710678118654752));
        case SS1_ACTIVATION_TANH:
            return tanh(v);
        default:
            return v;
    }
}

static void run_row(const struct layer *layer, const ss1_linear_args *args, size_t i) {
    const size_t N = layer->outputs, K = layer->desc.K;
    const float *x = (const float *)args->x + i * args->ldx;
    float *y = (float *)args->y + i * args->ldy;
    for (size_t n = 0; n < N; ++n) {
        double sum = layer->values[N * K + n];
        for (size_t k = 0; k < K; ++k) sum += (double)x[k] * layer->values[n * K + k];
        sum = activate(layer->desc.activation, sum);
        y[n] = (float)sum + (args->residual ? ((const float *)args->residual)[i * args->ldr + n] : 0);
    }
}

struct job {
    const struct layer *layer;
    const ss1_linear_args *args;
};

static void run_task(void *arg, size_t i) {
    const struct job *job = arg;
    run_row(job->layer, job->args, i);
}

static ss1_status layer_run(const void *state, const ss1_linear_args *args) {
    struct job job = {state, args};
    if (args->residual && strcmp(NAME, "bare") == 0) return host->fail(SS1_ERROR_INTERNAL, "bare: adds no residual");
    host->parallel_for(job.layer->context, args->m, run_task, &job);
    return SS1_OK;
}

static void layer_describe(const void *state, ss1_layer_info *info) {
    (void)state;
    info->kernels = NAME;
}

static void layer_destroy(void *state) {
    free(state);
}

#ifndef SS1_BARE
/* ---------------------------------------------------------------- rows */

static uint64_t rows_ns(const void *state, size_t m) {
    (void)state;
    return 1000 * (uint64_t)m;
}

static void rows_run(const void *state, const ss1_linear_args *args, int in_groups) {
    (void)in_groups;
    for (size_t i = 0; i < args->m; ++i) run_row(state, args, i);
}

/* ---------------------------------------------------------------- models */

/* A "BERT" whose hidden states are its word embeddings. */
struct model {
    size_t vocab_size, hidden_size, n_outputs;
    float word[];
};

static ss1_status model_create(const ss1_context *context, const ss1_model_spec *spec, void **model) {
    (void)context;
    if (has_fault("null model")) return *model = NULL, SS1_OK;
    if (!getenv("SS1_DUMMY_MODELS") || strcmp(spec->family, "bert") != 0)
        return host->fail(SS1_ERROR_UNSUPPORTED, "dummy: SS1_DUMMY_MODELS is not set, or this is no BERT");
    for (size_t i = 0; i < spec->n_tensors; ++i) {
        const ss1_tensor_spec *tensor = &spec->tensors[i];
        if (strcmp(tensor->name, "embeddings.word_embeddings.weight") != 0) continue;
        const size_t n = tensor->shape[0] * tensor->shape[1];
        struct model *made = malloc(sizeof *made + n * sizeof *made->word);
        if (!made) return host->fail(SS1_ERROR_OUT_OF_MEMORY, "dummy: no memory");
        made->vocab_size = tensor->shape[0];
        made->hidden_size = tensor->shape[1];
        made->n_outputs = spec->n_outputs;
        const ss1_status status = spec->read_tensor(spec, i, made->word);
        if (status != SS1_OK) {
            free(made);
            return status;
        }
        *model = made;
        return SS1_OK;
    }
    return host->fail(SS1_ERROR_INTERNAL, "dummy: the spec lists no word embeddings");
}

static void model_describe(const void *model, ss1_model_info *info) {
    const struct model *m = model;
    info->parameters = m->vocab_size * m->hidden_size;
    info->weight_bytes = info->parameters * sizeof *m->word;
}

static void model_layer(const void *model, size_t i, ss1_layer_info *info) {
    (void)model;
    info->kernels = i == 0 ? "dummy whole, first" : "dummy whole";
}

static void model_destroy(void *model) {
    free(model);
}

struct session {
    const struct model *model;
};

static size_t session_bytes(const void *model, size_t max_batch, size_t max_tokens) {
    (void)model;
    return sizeof(struct session) + max_batch * max_tokens;
}

static ss1_status session_create(const void *model, size_t max_batch, size_t max_tokens, void **session) {
    (void)max_batch, (void)max_tokens;
    if (has_fault("null session")) return *session = NULL, SS1_OK;
    struct session *made = malloc(sizeof *made);
    if (!made) return host->fail(SS1_ERROR_OUT_OF_MEMORY, "dummy: no memory");
    made->model = model;
    *session = made;
    return SS1_OK;
}

static ss1_status session_run(void *session, const ss1_model_run *run) {
    const struct model *model = ((struct session *)session)->model;
    const size_t rows = run->batch * run->tokens, H = model->hidden_size;
    const int64_t *ids = run->inputs[0]->data;
    if (has_fault("mute run")) return SS1_ERROR_BACKEND;
    if (run->given_up(run->control)) return SS1_OK;
    for (size_t i = 0; i < rows; ++i)
        if (ids[i] < 0 || (uint64_t)ids[i] >= model->vocab_size)
            return host->fail(SS1_ERROR_INVALID_ARGUMENT, "dummy: input_ids has an id out of range");
    for (size_t i = 0; i < rows && run->outputs[0]; ++i)
        memcpy((float *)run->outputs[0]->data + i * H, model->word + (size_t)ids[i] * H, H * sizeof *model->word);
    return SS1_OK;
}

static void session_destroy(void *session) {
    free(session);
}
#endif

/* ---------------------------------------------------------------- entry */

SS1_API const ss1_backend *ss1_backend_entry(const ss1_backend_host *given) {
    static ss1_backend backend = {.struct_size = sizeof backend,
                                  .name = NAME,
                                  .score = score,
                                  .supports = supports,
                                  .layer_create = layer_create,
                                  .layer_scratch = layer_scratch,
                                  .layer_run = layer_run,
                                  .layer_describe = layer_describe,
                                  .layer_destroy = layer_destroy,
#ifndef SS1_BARE
                                  .rows_scratch = layer_scratch,
                                  .rows_ns = rows_ns,
                                  .rows_run = rows_run,
                                  .model_create = model_create,
                                  .model_describe = model_describe,
                                  .model_layer = model_layer,
                                  .model_destroy = model_destroy,
                                  .session_bytes = session_bytes,
                                  .session_create = session_create,
                                  .session_run = session_run,
                                  .session_destroy = session_destroy
#endif
    };
    host = given;
    backend.abi = getenv("SS1_DUMMY_ABI") ? SS1_BACKEND_ABI + 1 : SS1_BACKEND_ABI;
#ifndef SS1_BARE
    backend.rows_ns = getenv("SS1_DUMMY_PART") ? NULL : rows_ns;
#endif
    return given->abi == SS1_BACKEND_ABI ? &backend : NULL;
}
