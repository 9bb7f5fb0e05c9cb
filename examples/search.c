/* SPDX-License-Identifier: Apache-2.0
 * Find the lines of a file that are nearest to a query, with a directory of sentence-transformers.
 *
 *   Build: cc -std=c99 search.c $(pkg-config --cflags --libs ss1)
 *   Run:   ./search DIRECTORY FILE QUERY
 */
#include <ss1/ss1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DOCUMENTS = 10000, MAX_LINE = 10000, SHOWN = 5 };

static ss1_text documents[MAX_DOCUMENTS];

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, ss1_last_error());
    return 1;
}

/* Reads the lines of a file. They live as long as the program. */
static size_t read_lines(const char *path) {
    static char line[MAX_LINE];
    FILE *file = fopen(path, "r");
    size_t n = 0;
    while (file && n < MAX_DOCUMENTS && fgets(line, sizeof line, file)) {
        const size_t bytes = strcspn(line, "\r\n");
        char *copy = malloc(bytes + 1);
        if (!copy) break;
        memcpy(copy, line, bytes);
        documents[n].struct_size = sizeof(ss1_text), documents[n].data = copy, documents[n++].bytes = bytes;
    }
    if (file) fclose(file);
    return n;
}

/* The embeddings [n, size] of n texts; NULL on error. The caller frees them. */
static float *embed(ss1_model *model, const ss1_tokenizer *tokenizer, const ss1_text *texts, size_t n, size_t size,
                    const char *prompt) {
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.n = n, args.first = texts, args.prompt = prompt, args.y = malloc(n * size * sizeof(float));
    if (args.y && ss1_model_encode(model, tokenizer, &args) == SS1_OK) return args.y;
    free(args.y);
    return NULL;
}

/* Prints the documents with the largest products with the query: their cosine, as this model normalises. */
static void show_nearest(const float *vectors, size_t n, size_t size, const float *query) {
    static float score[MAX_DOCUMENTS];
    for (size_t i = 0; i < n; ++i) {
        score[i] = 0;
        for (size_t k = 0; k < size; ++k) score[i] += vectors[i * size + k] * query[k];
    }
    for (size_t shown = 0; shown < SHOWN && shown < n; ++shown) {
        size_t best = 0;
        for (size_t i = 1; i < n; ++i) best = score[i] > score[best] ? i : best;
        printf("%.4f %.*s\n", (double)score[best], (int)documents[best].bytes, documents[best].data);
        score[best] = -2;
    }
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: %s DIRECTORY FILE QUERY\n", argv[0]), 2;
    const size_t n = read_lines(argv[2]);
    if (n == 0) return fprintf(stderr, "%s: no lines\n", argv[2]), 1;
    ss1_text query = SS1_TEXT_INIT;
    query.data = argv[3], query.bytes = strlen(argv[3]);

    ss1_context *context = NULL;
    ss1_model *model = NULL;
    ss1_tokenizer *tokenizer = NULL;
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    if (ss1_context_create(NULL, &context) || ss1_model_load(context, argv[1], NULL, &model) ||
        ss1_tokenizer_load(context, argv[1], &tokenizer) || ss1_model_describe(model, &info))
        return failed("load");
    float *vectors = embed(model, tokenizer, documents, n, info.embedding_size, "document");
    float *wanted = embed(model, tokenizer, &query, 1, info.embedding_size, "query");
    if (!vectors || !wanted) return failed("embed");
    show_nearest(vectors, n, info.embedding_size, wanted);
    free(vectors), free(wanted);
    ss1_tokenizer_destroy(&tokenizer), ss1_model_destroy(&model), ss1_context_destroy(&context);
    return 0;
}
