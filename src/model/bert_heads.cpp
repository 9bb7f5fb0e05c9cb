// SPDX-License-Identifier: Apache-2.0
// What a BERT does with its hidden states: pooler and classifier.
#include "model/bert.hpp"

namespace ss1 {

ss1_status run_heads(const bert_model &model, const bert_activations &memory, const run_size &size) {
    const size_t B = size.batch, T = size.tokens, H = model.config.hidden_size, labels = model.config.num_labels;
    // The pooler reads the first token of each sequence where it stands.
    const named_layer *head = model.layers.data() + model.config.num_hidden_layers * per_encoder;
    if (model.has_pooler) SS1_TRY(layer_run(*head[0].layer, B, memory.state, T * H, memory.pooled, H, memory.scratch));
    if (model.has_classifier)
        SS1_TRY(layer_run(*head[1].layer, B, memory.pooled, H, memory.logits, labels, memory.scratch));
    return SS1_OK;
}

}  // namespace ss1
