/* SPDX-License-Identifier: Apache-2.0 */
/* A program that opens libss1 by dlopen(RTLD_LOCAL), as Python, Node and Java do, loads a plugin through it and runs a
 * layer: neither may need a symbol that only RTLD_GLOBAL makes visible. */
#include <dlfcn.h>
#include <stdio.h>

#include "ss1/ss1.h"

static void *library;

/* A function of the library, by the conversion that POSIX recommends. */
#define FIND(name)             \
    __typeof__(&name) name##_; \
    *(void **)&name##_ = dlsym(library, #name)

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: local_test LIBSS1 BACKEND\n"), 2;
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
    FIND(ss1_context_create);
    FIND(ss1_context_destroy);
    FIND(ss1_layer_create);
    FIND(ss1_layer_run);
    FIND(ss1_layer_destroy);
    FIND(ss1_last_error);

    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.backend = argv[2];
    ss1_context *context = NULL;
    if (ss1_context_create_(&options, &context) != SS1_OK) return fprintf(stderr, "%s\n", ss1_last_error_()), 1;
    const float z[2] = {2, 3}, x[2] = {10, 100};
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 2;
    desc.N = 1;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z;
    ss1_layer *layer = NULL;
    if (ss1_layer_create_(context, &desc, &weights, &layer) != SS1_OK)
        return fprintf(stderr, "%s\n", ss1_last_error_()), 1;
    float y = 0;
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = 1;
    args.x = x;
    args.y = &y;
    if (ss1_layer_run_(layer, &args) != SS1_OK) return fprintf(stderr, "%s\n", ss1_last_error_()), 1;
    ss1_layer_destroy_(&layer);
    ss1_context_destroy_(&context);
    if (y != 320) return fprintf(stderr, "y is %g, not 320\n", y), 1;
    return 0;
}
