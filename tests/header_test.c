/* SPDX-License-Identifier: Apache-2.0 */
/* Every init macro and a call: the headers compile in C99. */
#include "ss1/backend.h"
#include "ss1/ss1.h"

static int failures;
#define CHECK_INIT(type, init)                            \
    do {                                                  \
        const type made = init;                           \
        if (made.struct_size != sizeof(type)) ++failures; \
    } while (0)

int main(void) {
    ss1_context *context = NULL;
    ss1_context_options context_options = SS1_CONTEXT_OPTIONS_INIT;
    CHECK_INIT(ss1_context_options, SS1_CONTEXT_OPTIONS_INIT);
    CHECK_INIT(ss1_info, SS1_INFO_INIT);
    CHECK_INIT(ss1_linear_desc, SS1_LINEAR_DESC_INIT);
    CHECK_INIT(ss1_linear_weights, SS1_LINEAR_WEIGHTS_INIT);
    CHECK_INIT(ss1_linear_args, SS1_LINEAR_ARGS_INIT);
    CHECK_INIT(ss1_table, SS1_TABLE_INIT);
    CHECK_INIT(ss1_bags_args, SS1_BAGS_ARGS_INIT);
    CHECK_INIT(ss1_update_rows_args, SS1_UPDATE_ROWS_ARGS_INIT);
    CHECK_INIT(ss1_memory_file, SS1_MEMORY_FILE_INIT);
    CHECK_INIT(ss1_model_options, SS1_MODEL_OPTIONS_INIT);
    CHECK_INIT(ss1_tensor, SS1_TENSOR_INIT);
    CHECK_INIT(ss1_model_info, SS1_MODEL_INFO_INIT);
    CHECK_INIT(ss1_session_options, SS1_SESSION_OPTIONS_INIT);
    CHECK_INIT(ss1_tokenizer_info, SS1_TOKENIZER_INFO_INIT);
    CHECK_INIT(ss1_text, SS1_TEXT_INIT);
    CHECK_INIT(ss1_tokenize_args, SS1_TOKENIZE_ARGS_INIT);
    CHECK_INIT(ss1_encode_args, SS1_ENCODE_ARGS_INIT);
    CHECK_INIT(ss1_convert_options, SS1_CONVERT_OPTIONS_INIT);
    CHECK_INIT(ss1_layer_rows, SS1_LAYER_ROWS_INIT);
    CHECK_INIT(ss1_layer_statistics, SS1_LAYER_STATISTICS_INIT);
    CHECK_INIT(ss1_fit_args, SS1_FIT_ARGS_INIT);
    CHECK_INIT(ss1_converted_layer, SS1_CONVERTED_LAYER_INIT);
    CHECK_INIT(ss1_layer_info, SS1_LAYER_INFO_INIT);
    CHECK_INIT(ss1_model_layer_info, SS1_MODEL_LAYER_INFO_INIT);
    if (failures) return 1;
    if (ss1_context_create(&context_options, &context) != SS1_OK) return 1;
    ss1_context_destroy(&context);
    return context != NULL;
}
