/* SPDX-License-Identifier: Apache-2.0 */
/* Every init macro and a call: the header stands alone in C99. */
#include "ss1/backend.h"
#include "ss1/ss1.h"

int main(void) {
    ss1_context_options context_options = SS1_CONTEXT_OPTIONS_INIT;
    ss1_info info = SS1_INFO_INIT;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    ss1_layer_info layer_info = SS1_LAYER_INFO_INIT;
    ss1_model_options model_options = SS1_MODEL_OPTIONS_INIT;
    ss1_model_layer_info model_layer_info = SS1_MODEL_LAYER_INFO_INIT;
    ss1_model_info model_info = SS1_MODEL_INFO_INIT;
    ss1_session_options session_options = SS1_SESSION_OPTIONS_INIT;
    ss1_convert_options convert_options = SS1_CONVERT_OPTIONS_INIT;
    ss1_context *context = NULL;
    (void)info, (void)weights, (void)args, (void)layer_info, (void)model_options, (void)model_layer_info;
    (void)model_info, (void)session_options, (void)convert_options, (void)desc;
    if (ss1_context_create(&context_options, &context) != SS1_OK) return 1;
    ss1_context_destroy(&context);
    return context != NULL;
}
