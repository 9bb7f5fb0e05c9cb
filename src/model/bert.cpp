// SPDX-License-Identifier: Apache-2.0
#include "model/bert.hpp"

#include "op/embedding.hpp"
#include "op/norm.hpp"

namespace ss1 {
namespace {

enum input { input_ids, attention_mask, token_type_ids };
enum encoder_layer {
    to_query,
    to_key,
    to_value,
    attention_output,
    intermediate,
    output,
    per_encoder
};  // order of linear_layers()

const int64_t *ids_of(const ss1_tensor *tensor) noexcept {
    return tensor ? static_cast<const int64_t *>(tensor->data) : nullptr;
}

ss1_activation activation_of(const bert_config &config, size_t i) noexcept {
    const size_t encoders = config.num_hidden_layers * per_encoder;
    if (i < encoders) return i % per_encoder == intermediate ? config.hidden_act : SS1_ACTIVATION_NONE;
    return i == encoders ? SS1_ACTIVATION_TANH : SS1_ACTIVATION_NONE;
}

ss1_status load_norm(const ss1_context &context, const model_directory &from, const std::string &name,
                     norm_weights &out) {
    const size_t shape[] = {from.config.bert.hidden_size};
    SS1_TRY(tensor_f32(context, from, name + ".weight", shape, out.gamma));
    return tensor_f32(context, from, name + ".bias", shape, out.beta);
}

ss1_status load_tables(const ss1_context &context, const model_directory &from, bert_model &out) {
    const bert_config &config = out.config;
    const auto table = [&](const char *name, size_t rows, buffer &to) {
        const size_t shape[] = {rows, config.hidden_size};
        return tensor_f32(context, from, std::string("embeddings.") + name + "_embeddings.weight", shape, to);
    };
    SS1_TRY(table("word", config.vocab_size, out.word));
    SS1_TRY(table("position", config.max_position_embeddings, out.position));
    SS1_TRY(table("token_type", config.type_vocab_size, out.type));
    SS1_TRY(load_norm(context, from, "embeddings.LayerNorm", out.embedding_norm));
    for (size_t i = 0; i < config.num_hidden_layers; ++i) {
        const std::string prefix = "encoder.layer." + std::to_string(i);
        SS1_TRY(load_norm(context, from, prefix + ".attention.output.LayerNorm", out.norms.emplace_back()));
        SS1_TRY(load_norm(context, from, prefix + ".output.LayerNorm", out.norms.emplace_back()));
    }
    return SS1_OK;
}

// Every value in [0, limit).
ss1_status check_ids(const char *name, const ss1_tensor *given, size_t limit) {
    const int64_t *ids = ids_of(given);
    if (!ids) return SS1_OK;
    const auto tokens = static_cast<size_t>(given->shape[1]), n = static_cast<size_t>(given->shape[0]) * tokens;
    for (size_t i = 0; i < n; ++i)
        SS1_CHECK(static_cast<uint64_t>(ids[i]) < limit, SS1_ERROR_INVALID_ARGUMENT,
                  "%s[%zu,%zu]=%lld is not in 0..%zu", name, i / tokens, i % tokens, static_cast<long long>(ids[i]),
                  limit - 1);
    return SS1_OK;
}

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

ss1_status load(ss1_context &context, const model_directory &from, bert_model &out) {
    out.config = from.config.bert;
    const std::vector<linear_shape> shapes = linear_layers(from.config);
    for (size_t i = 0; i < shapes.size(); ++i) {
        // Pooler and classifier may be missing; a classifier without its pooler has no input.
        if (shapes[i].optional && !from.find(shapes[i].name + ".bias")) break;
        SS1_TRY(load_layer(context, from, shapes[i], activation_of(out.config, i), out.layers.emplace_back()));
    }
    const size_t encoders = out.config.num_hidden_layers * per_encoder;
    out.has_pooler = out.layers.size() > encoders;
    out.has_classifier = out.layers.size() > encoders + 1;
    out.attention = {&select_gemm(dtype::f32, SIZE_MAX, context.usable), &softmax_kernels().select(context.usable)};
    out.norm = &norm_kernels().select(context.usable);
    out.qkv_stride = row_stride(out.config.hidden_size);
    out.intermediate_stride = row_stride(out.config.intermediate_size);
    return load_tables(context, from, out);
}

std::vector<tensor_slot> input_slots(const bert_model &) {
    return {make_slot("input_ids", SS1_DTYPE_I64, {varies, varies}, true),
            make_slot("attention_mask", SS1_DTYPE_I64, {varies, varies}, false),
            make_slot("token_type_ids", SS1_DTYPE_I64, {varies, varies}, false)};
}

std::vector<tensor_slot> output_slots(const bert_model &model) {
    const size_t H = model.config.hidden_size;
    std::vector<tensor_slot> slots = {make_slot("last_hidden_state", SS1_DTYPE_F32, {varies, varies, H}, false)};
    if (model.has_pooler) slots.push_back(make_slot("pooled", SS1_DTYPE_F32, {varies, H}, false));
    if (model.has_classifier)
        slots.push_back(make_slot("logits", SS1_DTYPE_F32, {varies, model.config.num_labels}, false));
    return slots;
}

size_t table_bytes(const bert_model &model) noexcept {
    size_t bytes = model.word.bytes() + model.position.bytes() + model.type.bytes();
    bytes += model.embedding_norm.gamma.bytes() + model.embedding_norm.beta.bytes();
    for (const norm_weights &norm : model.norms) bytes += norm.gamma.bytes() + norm.beta.bytes();
    return bytes;
}

size_t table_parameters(const bert_model &model) noexcept {
    return table_bytes(model) / sizeof(float);
}

ss1_status resolve_bounds(const bert_model &model, session_bounds &bounds) noexcept {
    const size_t limit = model.config.max_position_embeddings;
    if (bounds.max_tokens == 0) bounds.max_tokens = limit;
    SS1_CHECK(bounds.max_tokens <= limit, SS1_ERROR_INVALID_ARGUMENT,
              "options.max_tokens=%zu is above the model's max_position_embeddings=%zu", bounds.max_tokens, limit);
    return SS1_OK;
}

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
    a.pooled = memory.take<float>(B, H);
    a.logits = memory.take<float>(B, config.num_labels);
    a.scratch = memory.take<char>(std::max(layer_scratch(model.layers, rows),
                                           attention_scratch(context, model.attention, B, T, heads, H / heads)),
                                  1);
    return a;
}

ss1_status check_inputs(const bert_model &model, const session_bounds &bounds,
                        const tensor_list<const ss1_tensor> &inputs, run_size &size) {
    const int64_t *shape = inputs[input_ids]->shape;
    size = {static_cast<size_t>(shape[0]), static_cast<size_t>(shape[1])};
    SS1_CHECK(size.batch <= bounds.max_batch, SS1_ERROR_INVALID_ARGUMENT,
              "input 'input_ids': shape[0]=%zu is above the session's max_batch=%zu", size.batch, bounds.max_batch);
    SS1_CHECK(size.tokens <= bounds.max_tokens, SS1_ERROR_INVALID_ARGUMENT,
              "input 'input_ids': shape[1]=%zu is above the session's max_tokens=%zu", size.tokens, bounds.max_tokens);
    for (const input other : {attention_mask, token_type_ids}) {
        const ss1_tensor *given = inputs[other];
        for (uint32_t i = 0; given && i < 2; ++i)
            SS1_CHECK(given->shape[i] == shape[i], SS1_ERROR_INVALID_ARGUMENT,
                      "input '%s': shape[%u]=%lld is not the %lld of 'input_ids'", given->name, i,
                      static_cast<long long>(given->shape[i]), static_cast<long long>(shape[i]));
    }
    SS1_TRY(check_ids("input_ids", inputs[input_ids], model.config.vocab_size));
    SS1_TRY(check_ids("attention_mask", inputs[attention_mask], 2));
    return check_ids("token_type_ids", inputs[token_type_ids], model.config.type_vocab_size);
}

ss1_status run(const ss1_context &context, const bert_model &model, const bert_activations &memory,
               const run_control &control, const tensor_list<const ss1_tensor> &inputs, const run_size &size,
               tensor_list<const float> &results) {
    const bert_config &config = model.config;
    const size_t B = size.batch, T = size.tokens, H = config.hidden_size, labels = config.num_labels;
    const float *mask = make_mask(inputs[attention_mask], memory.mask, B * T);
    embed_tokens(context, *model.norm,
                 {model.word.as<float>(), model.position.as<float>(), model.type.as<float>(), ids_of(inputs[input_ids]),
                  ids_of(inputs[token_type_ids]), B, T},
                 norm_of(model, model.embedding_norm, nullptr, nullptr, memory.state, B * T));
    for (size_t i = 0; i < config.num_hidden_layers; ++i)
        SS1_TRY(run_encoder(context, model, memory, control, size, mask, i));
    SS1_TRY(control.check());
    // The pooler reads the first token of each sequence where it stands.
    const named_layer *head = model.layers.data() + config.num_hidden_layers * per_encoder;
    if (model.has_pooler) SS1_TRY(layer_run(*head[0].layer, B, memory.state, T * H, memory.pooled, H, memory.scratch));
    if (model.has_classifier)
        SS1_TRY(layer_run(*head[1].layer, B, memory.pooled, H, memory.logits, labels, memory.scratch));
    results = {memory.state, memory.pooled, memory.logits};
    return SS1_OK;
}

}  // namespace ss1
