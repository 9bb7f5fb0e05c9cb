/* SPDX-License-Identifier: Apache-2.0
 * Classify a mail, or any text, with a BERT directory from a C99 program: text in, label and score out.
 * Build: cc -std=c99 classify_mail.c $(pkg-config --cflags --libs ss1) -lm
 * Run:   ./classify_mail DIRECTORY [FILE]     without FILE: standard input
 */
#include <math.h>
#include <ss1/ss1.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_TOKENS = 512 };

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, ss1_last_error());
    return 1;
}

/* All that `file` has, in memory that the caller frees; NULL if it cannot be read. */
static char *read_all(FILE *file, size_t *bytes) {
    size_t capacity = 1 << 16, size = 0, got;
    char *text = malloc(capacity), *larger;
    while (text && (got = fread(text + size, 1, capacity - size, file)) > 0) {
        size += got;
        if (size < capacity) continue;
        larger = realloc(text, capacity *= 2);
        if (!larger) free(text);
        text = larger;
    }
    *bytes = size;
    return text;
}

/* Runs the text through tokenizer and model and prints the likeliest label with its share of the softmax. */
static int classify(ss1_model *model, const ss1_tokenizer *tokenizer, const ss1_text *text, size_t max_tokens) {
    static int64_t ids[MAX_TOKENS];
    static float logits[1000];
    size_t length = 0, best = 0, i;
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1, args.first = text, args.max_tokens = max_tokens, args.input_ids = ids, args.lengths = &length;
    if (ss1_tokenizer_encode(tokenizer, &args) || ss1_model_describe(model, &info)) return failed("tokenizer");
    if (info.n_labels < 1 || info.n_labels > 1000) return fprintf(stderr, "the model is no classifier\n"), 1;

    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_tokens = length;
    ss1_session *session = NULL;
    if (ss1_session_create(model, &options, &session)) return failed("session");
    ss1_tensor input = {"input_ids", SS1_DTYPE_I64, 2, {1, (int64_t)length}, ids, length * sizeof ids[0]};
    ss1_tensor output = {"logits", SS1_DTYPE_F32, 0, {0}, logits, info.n_labels * sizeof logits[0]};
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
    FILE *file = argc > 2 ? fopen(argv[2], "rb") : stdin;
    ss1_text text = {NULL, 0};
    char *content = file ? read_all(file, &text.bytes) : NULL;
    if (!content) return fprintf(stderr, "cannot read the text\n"), 1;
    text.data = content;

    ss1_context *context = NULL;
    ss1_model *model = NULL;
    ss1_tokenizer *tokenizer = NULL;
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    int status = 1;
    if (ss1_context_create(NULL, &context) || ss1_model_load(context, argv[1], NULL, &model) ||
        ss1_tokenizer_load(context, argv[1], &tokenizer) || ss1_model_describe(model, &info))
        failed(argv[1]);
    else
        status = classify(model, tokenizer, &text, info.max_tokens < MAX_TOKENS ? info.max_tokens : MAX_TOKENS);

    ss1_tokenizer_destroy(&tokenizer);
    ss1_model_destroy(&model);
    ss1_context_destroy(&context);
    free(content);
    return status;
}
