// SPDX-License-Identifier: Apache-2.0
#include "model/bert.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "base/checked.hpp"
#include "op/rotary.hpp"

namespace ss1 {
namespace {

ss1_activation activation_of(const bert_config &config, std::string_view layer) noexcept {
    if (layer.ends_with(".intermediate.dense") && config.gate == gating::none) return config.hidden_act;
    if (layer == "discriminator_predictions.dense") return config.hidden_act;
    if (layer == "pooler.dense") return SS1_ACTIVATION_TANH;
    if (layer == "pre_classifier") return config.classifier_act;
    return layer == "cls.predictions.transform.dense" ? config.words_act : SS1_ACTIVATION_NONE;
}

// The pointer to a layer behind the encoder's.
const ss1_layer *&place_of(bert_model &model, std::string_view layer) noexcept {
    if (layer == "embeddings_project") return model.projection;
    if (layer == "pooler.dense") return model.pooler;
    const bool is_first = layer == "pre_classifier" || layer == "cls.predictions.transform.dense" ||
                          layer == "discriminator_predictions.dense";
    return is_first ? model.head_dense : model.head_out;
}

bool is_there(const bert_model &model, std::string_view layer) noexcept {
    if (layer == "embeddings_project") return true;
    return layer == "pooler.dense" ? model.has_pooler : model.has_head;
}

// The layers inside an encoder layer hand bf16 on where all layers around have weights below f32. The state between
// encoder layers is f32, as its error would grow with each of them.
layer_types types_of(const model_directory &from, std::span<const linear_shape> shapes, size_t i,
                     const bert_config &config) {
    const size_t each = config.encoder_layers(), qkv = config.qkv_layers();
    if (i >= config.stored_layers() * each) return {};
    const size_t which = i % each;
    const auto below_f32 = [&](size_t begin, size_t end) {
        return std::ranges::all_of(shapes.subspan(i - which + begin, end - begin),
                                   [&](const linear_shape &shape) { return is_below_f32(from, shape); });
    };
    const ss1_dtype attended = below_f32(0, qkv + 1) ? SS1_DTYPE_BF16 : SS1_DTYPE_F32;
    const bool gated = config.gate != gating::none;
    const ss1_dtype between = !gated && below_f32(qkv + 1, each) ? SS1_DTYPE_BF16 : SS1_DTYPE_F32;
    if (which < qkv) return {SS1_DTYPE_F32, attended};
    if (which == qkv) return {attended, SS1_DTYPE_F32};
    return which + 1 == each ? layer_types{between, SS1_DTYPE_F32} : layer_types{SS1_DTYPE_F32, between};
}

// The number of layers from layer i on that read the same x.
size_t alike(const bert_config &config, size_t i) noexcept {
    const size_t which = i % config.encoder_layers();
    if (i >= config.stored_layers() * config.encoder_layers()) return 1;
    if (which == 0) return config.qkv_layers();
    return which == config.qkv_layers() + 1 ? config.intermediate_layers() : 1;
}

ss1_status load_layers(ss1_context &context, const model_directory &from, bert_model &out) {
    const std::vector<linear_shape> shapes = linear_layers(from.config);
    const size_t encoders = out.config.stored_layers() * out.config.encoder_layers();
    for (size_t i = 0, n; i < shapes.size(); i += n) {
        const std::string &name = shapes[i].name;
        n = alike(out.config, i);
        if (i >= encoders && !is_there(out, name)) continue;
        SS1_TRY(load_layers(context, from, std::span(shapes).subspan(i, n), activation_of(out.config, name), out.layers,
                            types_of(from, shapes, i, out.config)));
        if (i >= encoders) place_of(out, name) = out.layers.back().layer.get();
    }
    return SS1_OK;
}

ss1_status load_tables(const ss1_context &context, const model_directory &from, bert_model &out) {
    const bert_config &config = out.config;
    const auto table = [&](const char *name, size_t rows, buffer &to) {
        const size_t shape[] = {rows, config.embedding_size};
        return tensor_f32(context, from, std::string("embeddings.") + name + "_embeddings.weight", shape, to);
    };
    SS1_TRY(table("word", config.vocab_size, out.word));
    if (config.has_positions) SS1_TRY(table("position", config.max_position_embeddings, out.position));
    if (config.type_vocab_size) SS1_TRY(table("token_type", config.type_vocab_size, out.type));
    const auto norm = [&](const std::string &name, size_t width, norm_weights &to) {
        return load_norm(context, from, name, width, to, config.norm_bias);
    };
    SS1_TRY(norm("embeddings.LayerNorm", config.embedding_size, out.embedding_norm));
    for (size_t i = 0; i < config.stored_layers(); ++i)
        for (const std::string &name : config.norms(i)) {
            norm_weights &to = out.norms.emplace_back();
            if (!name.empty()) SS1_TRY(norm(name, config.hidden_size, to));
        }
    if (config.norms_first) SS1_TRY(norm("encoder.LayerNorm", config.hidden_size, out.last_norm));
    if (!config.has_transform()) return SS1_OK;
    return norm("cls.predictions.transform.LayerNorm", config.embedding_size, out.head_norm);
}

ss1_status load_rotary(const ss1_context &context, const std::string &path, const rotary_config &rotary, size_t tokens,
                       buffer &out) {
    const size_t shape[] = {tokens, rotary.size};
    size_t bytes;
    SS1_CHECK(checked_bytes(shape, sizeof(float), bytes), SS1_ERROR_FORMAT,
              "%s/config.json: rotary positions of %zu tokens do not fit the address space", path.c_str(), tokens);
    SS1_TRY(out.allocate(context, bytes));
    make_rotary_table(rotary.theta, rotary.factor, tokens, rotary.size, out.as<float>());
    return SS1_OK;
}

ss1_status load_rotary(const ss1_context &context, const std::string &path, bert_model &out) {
    const bert_config &config = out.config;
    if (!config.rotary.size) return SS1_OK;
    SS1_TRY(load_rotary(context, path, config.rotary, config.max_tokens(), out.rotary));
    if (std::ranges::find(config.local_layers, true) == config.local_layers.end()) return SS1_OK;
    return load_rotary(context, path, config.local_rotary, config.max_tokens(), out.local_rotary);
}

// The row of MPNet's table for a key `distance` tokens behind its query: half of the rows are for keys before it. Each
// half has 8 rows for distances below 8 and 8 for those up to 128, on a logarithmic scale. PyTorch's numbers are f32.
size_t bucket_of(ptrdiff_t distance) noexcept {
    constexpr size_t half = relative_buckets / 2, exact = half / 2;
    const auto n = static_cast<size_t>(distance < 0 ? -distance : distance);
    const size_t first = distance > 0 ? half : 0;
    if (n < exact) return first + n;
    constexpr float least = exact, rows = half - exact;
    const float far = std::log(static_cast<float>(n) / least) / static_cast<float>(std::log(128.0 / exact)) * rows;
    return first + std::min(half - 1, exact + static_cast<size_t>(far));
}

// ALiBi's slope of a head. For numbers of heads that are no power of two, the heads behind the largest one have every
// second slope of twice as many.
float slope_of(size_t head, size_t heads) noexcept {
    const size_t power = std::bit_floor(heads);
    const double exponent = head < power ? static_cast<double>(head + 1) / static_cast<double>(power)
                                         : static_cast<double>(2 * (head - power) + 1) / static_cast<double>(2 * power);
    return static_cast<float>(std::exp2(-8 * exponent));
}

// Writes the bias of each distance. The attention scales its sums by 1 / sqrt(d) after the bias.
ss1_status load_bias(const ss1_context &context, const model_directory &from, bert_model &out) {
    const bert_config &config = out.config;
    if (config.bias == distance_bias::none) return SS1_OK;
    const bool buckets = config.bias == distance_bias::buckets;
    const size_t heads = config.num_attention_heads, T = config.max_tokens(), shape[] = {relative_buckets, heads};
    buffer table;
    if (buckets) SS1_TRY(tensor_f32(context, from, "encoder.relative_attention_bias.weight", shape, table));
    const size_t all[] = {heads, 2 * T - 1};
    size_t bytes;
    SS1_CHECK(checked_bytes(all, sizeof(float), bytes), SS1_ERROR_FORMAT,
              "%s/config.json: the attention's bias for %zu tokens does not fit the address space", from.path.c_str(),
              T);
    SS1_TRY(out.bias.allocate(context, bytes));
    const float scale = std::sqrt(static_cast<float>(config.hidden_size / heads));
    for (size_t h = 0; h < heads; ++h)
        for (size_t i = 0; i < 2 * T - 1; ++i) {
            const ptrdiff_t distance = static_cast<ptrdiff_t>(i) - static_cast<ptrdiff_t>(T - 1);
            const float bias = buckets ? table.as<float>()[bucket_of(distance) * heads + h]
                                       : -slope_of(h, heads) * static_cast<float>(std::abs(distance));
            out.bias.as<float>()[h * (2 * T - 1) + i] = bias * scale;
        }
    return SS1_OK;
}

// The names of the classes: id2label's, else those that transformers makes.
std::vector<std::string> labels_of(const bert_model &model) {
    const bert_config &config = model.config;
    const bool classifies =
        config.head == bert_head::sequence_classification || config.head == bert_head::token_classification;
    if (!classifies || !model.has_head) return {};
    if (!config.labels.empty()) return config.labels;
    std::vector<std::string> labels;
    for (size_t i = 0; i < config.num_labels; ++i) labels.push_back("LABEL_" + std::to_string(i));
    return labels;
}

}  // namespace

ss1_status prepare(const model_directory &from, bert_model &out) {
    out.config = from.config.bert;
    // Pooler and classifier may be missing; an optional classifier without its pooler has no input.
    const auto is_stored = [&](const linear_shape &s) { return !s.optional || from.find(s.name + ".bias") != nullptr; };
    const size_t encoders = out.config.stored_layers() * out.config.encoder_layers();
    const std::vector<linear_shape> shapes = linear_layers(from.config);
    for (const linear_shape &shape : std::span(shapes).subspan(encoders)) {
        if (shape.name == "pooler.dense") {
            out.has_pooler = is_stored(shape);
        } else if (shape.name != "embeddings_project") {
            out.has_head = is_stored(shape) && (shape.name != "classifier" || !shape.optional || out.has_pooler);
        }
    }
    out.labels = labels_of(out);
    const bool scores_words = out.has_head && out.config.head == bert_head::masked_words;
    return prepare_sentence(from, out.config.hidden_size, scores_words ? out.config.vocab_size : 0, out.sentence);
}

ss1_status load(ss1_context &context, const model_directory &from, bert_model &out) {
    SS1_TRY(load_layers(context, from, out));
    SS1_TRY(load_sentence(context, from, out.layers, out.sentence));
    out.adds_residual = std::ranges::all_of(out.layers, [](const named_layer &l) { return l.layer->adds_residual; });
    out.attention = select_attention(context.usable, out.config.hidden_size / out.config.num_attention_heads);
    out.norm = &norm_kernels().select(context.usable);
    const bool gated = out.config.gate != gating::none;
    if (gated) out.gate = select_activation(static_cast<activation>(out.config.hidden_act), context.usable);
    out.intermediate_ld = row_stride((gated ? 2 : 1) * out.config.intermediate_size);
    for (size_t i = 0; i < out.config.stored_layers(); ++i) {
        const ss1_linear_desc &between = out.encoder(i).intermediate[0].layer->desc;
        const size_t size = size_of(static_cast<dtype>(between.y_dtype)), ld = row_stride(3 * out.config.hidden_size);
        out.qkv_row_bytes = std::max(out.qkv_row_bytes, ld * out.qkv_size(i));
        out.intermediate_row_bytes = std::max(out.intermediate_row_bytes, out.intermediate_ld * size);
    }
    SS1_TRY(load_rotary(context, from.path, out));
    SS1_TRY(load_bias(context, from, out));
    SS1_TRY(load_position_terms(context, from, out));
    return load_tables(context, from, out);
}

std::vector<tensor_slot> input_slots(const bert_model &model) {
    std::vector<tensor_slot> slots = {make_slot("input_ids", SS1_DTYPE_I64, {varies, varies}, true),
                                      make_slot("attention_mask", SS1_DTYPE_I64, {varies, varies}, false)};
    if (model.config.type_vocab_size)
        slots.push_back(make_slot("token_type_ids", SS1_DTYPE_I64, {varies, varies}, false));
    if (model.sentence.takes_prompts()) slots.push_back(make_slot("prompt_tokens", SS1_DTYPE_I64, {varies}, false));
    return slots;
}

void describe(const bert_model &model, ss1_model_info &info) noexcept {
    size_t bytes = model.word.bytes() + model.position.bytes() + model.type.bytes() + norm_bytes(model.sentence);
    const auto add = [&](const norm_weights &norm) {
        bytes += norm.gamma.bytes() + (model.config.norm_bias ? norm.beta.bytes() : 0);
    };
    for (const norm_weights *norm : {&model.embedding_norm, &model.last_norm, &model.head_norm}) add(*norm);
    for (const norm_weights &norm : model.norms) add(norm);
    info.parameters = bytes / sizeof(float) + model.position_parameters;
    for (const buffer *made : {&model.bias, &model.rotary, &model.local_rotary, &model.row_of_distance})
        bytes += made->bytes();
    for (const std::vector<buffer> *tables : {&model.position_keys, &model.position_queries})
        for (const buffer &table : *tables) bytes += table.bytes();
    info.weight_bytes = bytes;
    if (model.config.bias == distance_bias::buckets)
        info.parameters += relative_buckets * model.config.num_attention_heads;
    info.n_labels = model.labels.size();
    info.max_tokens = model.config.max_tokens();
    info.vocab_size = model.config.vocab_size;
    info.type_vocab_size = model.config.type_vocab_size;
    info.embedding_size = model.sentence.size;
}

ss1_status resolve_bounds(const bert_model &model, session_bounds &bounds) noexcept {
    const size_t limit = model.config.max_tokens();
    if (bounds.max_tokens == 0) bounds.max_tokens = limit;
    SS1_CHECK(bounds.max_tokens <= limit, SS1_ERROR_INVALID_ARGUMENT,
              "options.max_tokens=%zu is above the model's limit of %zu (max_position_embeddings)", bounds.max_tokens,
              limit);
    return SS1_OK;
}

ss1_status check_sizes(const bert_model &, const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                       run_size &size) {
    return check_token_sizes(bounds, inputs, size);
}

ss1_status check_values(const bert_model &model, const tensor_list<const ss1_tensor> &inputs) {
    const auto batch = static_cast<size_t>(inputs[input_ids]->shape[0]);
    const auto tokens = static_cast<size_t>(inputs[input_ids]->shape[1]);
    const auto check = [&](const char *name, const int64_t *ids, size_t limit) {
        return check_ids(name, ids, batch, tokens, limit);
    };
    SS1_TRY(check("input_ids", ids_of(inputs[input_ids]), model.config.vocab_size));
    SS1_TRY(check("attention_mask", ids_of(inputs[attention_mask]), 2));
    SS1_TRY(check("token_type_ids", model.types_in(inputs), model.config.type_vocab_size));
    return check_ids("prompt_tokens", model.prompts_in(inputs), batch, 1, tokens + 1);
}

}  // namespace ss1
