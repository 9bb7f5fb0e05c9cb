/* SPDX-License-Identifier: Apache-2.0 */
#include <ss1/ss1.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    ss1_context *context = NULL;
    if (ss1_context_create(NULL, &context) != SS1_OK) return fprintf(stderr, "%s\n", ss1_last_error()), 1;
    ss1_context_destroy(&context);
    printf("ss1 %s\n", ss1_version());
    return strcmp(ss1_version(), SS1_VERSION_STRING) != 0;
}
