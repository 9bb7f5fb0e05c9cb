// SPDX-License-Identifier: Apache-2.0
// A run of a BERT: embeddings, encoder layers, heads, and the memory they need.
#include "model/bert.hpp"
#include "op/embedding.hpp"
#include "op/norm.hpp"

namespace ss1 {
namespace {

norm_args norm_of(const bert_model &model, const norm_weights &weights, const float *x, const float *r, float *y,
                  size_t rows) noexcept {
    return {x, r,    weights.gamma.as<float>(), weights.beta.as<float>(),
            y, rows, model.config.hidden_size,  static_cast<float>(model.config.layer_norm_eps)};
}

// One encoder layer, from memory.state to memory.state.
ss1_status run_encoder(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                       const run_control &control, const run_size &size, const float *mask, size_t i) {
    const bert_config &config = model.config;
    const named_layer *layers = &model.layers[i * per_encoder];
    const size_t rows = size.batch * size.tokens, H = config.hidden_size, heads = config.num_attention_heads;
    const size_t lda = model.qkv_stride, ldi = model.intermediate_stride;
    const auto linear = [&](encoder_layer which, const float *x, size_t ldx, float *y, size_t ldy) {
        SS1_TRY(control.check());
        return layer_run(*layers[which].layer, rows, x, ldx, y, ldy, memory.scratch);
    };
    const auto add_and_norm = [&](const norm_weights &weights) {
        normalize(context, *model.norm, norm_of(model, weights, memory.update, memory.state, memory.state, rows));
    };
    SS1_TRY(linear(to_query, memory.state, H, memory.query, lda));
    SS1_TRY(linear(to_key, memory.state, H, memory.key, lda));
    SS1_TRY(linear(to_value, memory.state, H, memory.value, lda));
    SS1_TRY(control.check());
    attend(
        context, model.attention,
        {memory.query, memory.key, memory.value, mask, size.batch, size.tokens, heads, H / heads, lda, memory.scratch});
    SS1_TRY(linear(attention_output, memory.query, lda, memory.update, H));
    add_and_norm(model.norms[2 * i]);
    SS1_TRY(linear(intermediate, memory.state, H, memory.intermediate, ldi));
    SS1_TRY(linear(output, memory.intermediate, ldi, memory.update, H));
    add_and_norm(model.norms[2 * i + 1]);
    return SS1_OK;
}

// What is added to the scores of each key; NULL without a mask.
const float *make_mask(const ss1_tensor *given, float *mask, size_t n) noexcept {
    const int64_t *seen = ids_of(given);
    for (size_t i = 0; seen && i < n; ++i) mask[i] = seen[i] ? 0.0f : masked_key;
    return seen ? mask : nullptr;
}

}  // namespace

bert_activations carve(const ss1_context &context, const bert_model &model, const session_bounds &bounds,
                       carver &memory) noexcept {
    const bert_config &config = model.config;
    const size_t B = bounds.max_batch, T = bounds.max_tokens, H = config.hidden_size,
                 heads = config.num_attention_heads;
    size_t rows = 0;
    bert_activations a = {};
    a.mask = memory.take<float>(B, T);
    if (!memory.fits()) return a;
    rows = B * T;
    a.state = memory.take<float>(rows, H);
    a.update = memory.take<float>(rows, H);
    const size_t plane = rows * model.qkv_stride;
    a.query = memory.take<float>(rows, std::max(3 * model.qkv_stride, model.intermediate_stride));
    if (!memory.fits()) return a;
    a.key = a.query ? a.query + plane : nullptr;
    a.value = a.query ? a.query + 2 * plane : nullptr;
    a.intermediate = a.query;
    carve_heads(model, B, rows, memory, a);
    a.scratch = memory.take<char>(std::max(layer_scratch(model.layers, rows),
                                           attention_scratch(context, model.attention, B, T, heads, H / heads)),
                                  1);
    return a;
}

ss1_status run(const ss1_context &context, const bert_model &model, const bert_activations &memory,
               const run_control &control, const tensor_list<const ss1_tensor> &inputs, const run_size &size,
               tensor_list<const float> &results) {
    const bert_config &config = model.config;
    const size_t B = size.batch, T = size.tokens;
    const float *mask = make_mask(inputs[attention_mask], memory.mask, B * T);
    embed_tokens(context, *model.norm,
                 {model.word.as<float>(), model.position.as<float>(), model.type.as<float>(), ids_of(inputs[input_ids]),
                  ids_of(inputs[token_type_ids]), B, T,
                  config.variant == bert_variant::roberta ? static_cast<int64_t>(config.pad_token_id) : -1},
                 norm_of(model, model.embedding_norm, nullptr, nullptr, memory.state, B * T));
    for (size_t i = 0; i < config.num_hidden_layers; ++i)
        SS1_TRY(run_encoder(context, model, memory, control, size, mask, i));
    return run_heads(context, model, memory, control, size, results);
}

}  // namespace ss1
