// SPDX-License-Identifier: Apache-2.0
// The headers compile in C++17, with every init macro and a call.
#include "ss1/backend.h"
#include "ss1/ss1.hpp"

namespace {

template <class T>
bool is_sized(const T &made) {
    return made.struct_size == sizeof(T);
}

bool all_sized() {
    return is_sized<ss1_context_options>(SS1_CONTEXT_OPTIONS_INIT) && is_sized<ss1_info>(SS1_INFO_INIT) &&
           is_sized<ss1_linear_desc>(SS1_LINEAR_DESC_INIT) && is_sized<ss1_linear_weights>(SS1_LINEAR_WEIGHTS_INIT) &&
           is_sized<ss1_linear_args>(SS1_LINEAR_ARGS_INIT) && is_sized<ss1_layer_info>(SS1_LAYER_INFO_INIT) &&
           is_sized<ss1_table>(SS1_TABLE_INIT) && is_sized<ss1_bags_args>(SS1_BAGS_ARGS_INIT) &&
           is_sized<ss1_update_rows_args>(SS1_UPDATE_ROWS_ARGS_INIT) &&
           is_sized<ss1_memory_file>(SS1_MEMORY_FILE_INIT) && is_sized<ss1_model_options>(SS1_MODEL_OPTIONS_INIT) &&
           is_sized<ss1_tensor>(SS1_TENSOR_INIT) && is_sized<ss1_model_layer_info>(SS1_MODEL_LAYER_INFO_INIT) &&
           is_sized<ss1_model_info>(SS1_MODEL_INFO_INIT) && is_sized<ss1_session_options>(SS1_SESSION_OPTIONS_INIT) &&
           is_sized<ss1_tokenizer_info>(SS1_TOKENIZER_INFO_INIT) && is_sized<ss1_text>(SS1_TEXT_INIT) &&
           is_sized<ss1_tokenize_args>(SS1_TOKENIZE_ARGS_INIT) && is_sized<ss1_encode_args>(SS1_ENCODE_ARGS_INIT) &&
           is_sized<ss1_convert_options>(SS1_CONVERT_OPTIONS_INIT) &&
           is_sized<ss1_converted_layer>(SS1_CONVERTED_LAYER_INIT) && is_sized<ss1_layer_rows>(SS1_LAYER_ROWS_INIT) &&
           is_sized<ss1_layer_statistics>(SS1_LAYER_STATISTICS_INIT) && is_sized<ss1_fit_args>(SS1_FIT_ARGS_INIT);
}

}  // namespace

int main() {
    if (!all_sized()) return 3;
    const ss1::context_ptr context = ss1::make_context();
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    try {
        ss1::make_layer(context, desc, SS1_LINEAR_WEIGHTS_INIT);
    } catch (const ss1::error &e) {
        return e.status() == SS1_ERROR_INVALID_ARGUMENT ? 0 : 2;
    }
    return 1;
}
