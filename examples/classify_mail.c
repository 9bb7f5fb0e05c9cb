/* SPDX-License-Identifier: Apache-2.0
 * Classify a mail, or any text, with a BERT directory from a C99 program: text in, label and score out.
 * Build: cc -std=c99 classify_mail.c $(pkg-config --cflags --libs ss1) -lm
 * Run:   ./classify_mail DIRECTORY [FILE]     without FILE: standard input
 */
#include <errno.h>
#include <math.h>
#include <ss1/ss1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 8192 }; /* the usual limit of a BERT is 512 */

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, ss1_last_error());
    return 1;
}

/* Reads a file (NULL: standard input) into memory that the caller frees; returns NULL on error and sets errno. */
static char *read_all(const char *path, size_t *bytes) {
    FILE *file = path ? fopen(path, "rb") : stdin;
    if (!file) return NULL;
    size_t capacity = 1 << 16, got;
    *bytes = 0;
    char *text = malloc(capacity), *larger;
    while (text && (got = fread(text + *bytes, 1, capacity - *bytes, file)) > 0) {
        *bytes += got;
        if (*bytes < capacity) continue;
        larger = realloc(text, capacity *= 2);
        if (!larger) free(text);
        text = larger;
    }
    const int error = errno, bad = ferror(file);
    if (path) fclose(file);
    if (bad) free(text);
    errno = error;
    return bad ? NULL : text;
}

/* Runs the text through tokenizer and model and prints the likeliest label with its share of the softmax. */
static int classify(ss1_model *model, const ss1_tokenizer *tokenizer, const ss1_text *text) {
    static int64_t ids[MAX_TOKENS];
    static float logits[1000];
    size_t length = 0, best = 0, i;
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1_tokenizer_info limits = SS1_TOKENIZER_INFO_INIT;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    if (ss1_model_describe(model, &info) || ss1_tokenizer_describe(tokenizer, &limits)) return failed("describe");
    if (info.n_labels < 1 || info.n_labels > 1000) return fprintf(stderr, "the model is no classifier\n"), 1;
    args.n = 1, args.first = text, args.input_ids = ids, args.lengths = &length, args.max_tokens = info.max_tokens;
    if (limits.max_tokens && limits.max_tokens < args.max_tokens) args.max_tokens = limits.max_tokens;
    if (args.max_tokens > MAX_TOKENS) args.max_tokens = MAX_TOKENS;
    if (ss1_tokenizer_encode(tokenizer, &args)) return failed("tokenizer");

    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_tokens = length;
    ss1_session *session = NULL;
    if (ss1_session_create(model, &options, &session)) return failed("session");
    ss1_tensor input = {sizeof(ss1_tensor),   "input_ids", SS1_DTYPE_I64,         2,
                        {1, (int64_t)length}, ids,         length * sizeof ids[0]};
    ss1_tensor output = {sizeof(ss1_tensor), "logits", SS1_DTYPE_F32, 0, {0}, logits, info.n_labels * sizeof logits[0]};
    const int bad = ss1_session_run(session, &input, 1, &output, 1) != SS1_OK;
    if (bad) failed("run");
    ss1_session_destroy(&session);
    if (bad) return 1;

    double sum = 0;
    const char *label = NULL;
    for (i = 1; i < info.n_labels; ++i) best = logits[i] > logits[best] ? i : best;
    for (i = 0; i < info.n_labels; ++i) sum += exp((double)logits[i] - (double)logits[best]);
    if (ss1_model_label(model, best, &label)) return failed("label");
    printf("%s %.4f\n", label, 1 / sum);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: %s DIRECTORY [FILE]\n", argv[0]), 2;
    const char *path = argc > 2 ? argv[2] : NULL;
    ss1_text text = SS1_TEXT_INIT;
    char *content = read_all(path, &text.bytes);
    if (!content) return fprintf(stderr, "%s: %s\n", path ? path : "standard input", strerror(errno)), 1;
    text.data = content;

    ss1_context *context = NULL;
    ss1_model *model = NULL;
    ss1_tokenizer *tokenizer = NULL;
    int status = 1;
    if (ss1_context_create(NULL, &context) || ss1_model_load(context, argv[1], NULL, &model) ||
        ss1_tokenizer_load(context, argv[1], &tokenizer))
        failed(argv[1]);
    else
        status = classify(model, tokenizer, &text);

    ss1_tokenizer_destroy(&tokenizer);
    ss1_model_destroy(&model);
    ss1_context_destroy(&context);
    free(content);
    return status;
}
