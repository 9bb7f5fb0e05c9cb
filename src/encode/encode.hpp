// SPDX-License-Identifier: Apache-2.0
// Turns texts into vectors with a model and its tokenizer. Texts of similar length run together.
#pragma once
#include "model/model.hpp"
#include "text/tokenizer.hpp"

namespace ss1 {

// `args` has the size of this library's struct.
ss1_status model_encode(ss1_model &model, const ss1_tokenizer &tokenizer, ss1_encode_args args);

}  // namespace ss1
