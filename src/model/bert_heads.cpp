// SPDX-License-Identifier: Apache-2.0
// What a BERT does with its hidden states: pooler and head.
#include "model/bert.hpp"
#include "op/norm.hpp"

namespace ss1 {
namespace {

// Scores of words: [rows, vocab_size] in memory.logits.
ss1_status score_words(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                       const run_control &control, size_t rows) {
    const bert_config &config = model.config;
    const size_t H = config.hidden_size;
    SS1_TRY(layer_run(*model.head_dense, rows, memory.state, H, memory.head, H, memory.scratch));
    normalize(context, *model.norm,
              {memory.head, nullptr, model.head_norm.gamma.as<float>(), model.head_norm.beta.as<float>(), memory.head,
               rows, H, static_cast<float>(config.layer_norm_eps)});
    SS1_TRY(control.check());
    return layer_run(*model.head_out, rows, memory.head, H, memory.logits, config.vocab_size, memory.scratch);
}

// memory.head holds (start, end) of each token; memory.logits gets all starts, then all ends.
void split_answers(const bert_activations &memory, size_t rows) noexcept {
    for (size_t i = 0; i < rows; ++i) {
        memory.logits[i] = memory.head[2 * i];
        memory.logits[rows + i] = memory.head[2 * i + 1];
    }
}

bool reads_pooled(const bert_model &model) noexcept {
    return model.config.head == bert_head::sequence_classification && !model.head_dense;
}

ss1_status run_head(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                    const run_control &control, const run_size &size) {
    const bert_config &config = model.config;
    const size_t B = size.batch, T = size.tokens, rows = B * T, H = config.hidden_size;
    const auto linear = [&](const ss1_layer &layer, size_t m, const float *x, size_t ldx, float *y) {
        return layer_run(layer, m, x, ldx, y, layer.desc.N, memory.scratch);
    };
    switch (config.head) {
        case bert_head::none:
            return SS1_OK;
        case bert_head::sequence_classification:
            if (reads_pooled(model)) return linear(*model.head_out, B, memory.pooled, H, memory.logits);
            SS1_TRY(linear(*model.head_dense, B, memory.state, T * H, memory.head));
            return linear(*model.head_out, B, memory.head, H, memory.logits);
        case bert_head::token_classification:
            return linear(*model.head_out, rows, memory.state, H, memory.logits);
        case bert_head::masked_words:
            return score_words(context, model, memory, control, rows);
        case bert_head::question_answering:
            SS1_TRY(linear(*model.head_out, rows, memory.state, H, memory.head));
            split_answers(memory, rows);
            return SS1_OK;
    }
    return SS1_OK;
}

}  // namespace

std::vector<tensor_slot> output_slots(const bert_model &model) {
    const bert_config &config = model.config;
    const auto slot = [](const char *name, std::initializer_list<size_t> shape) {
        return make_slot(name, SS1_DTYPE_F32, shape, false);
    };
    std::vector<tensor_slot> slots = {slot("last_hidden_state", {varies, varies, config.hidden_size})};
    if (model.pooler) slots.push_back(slot("pooled", {varies, config.hidden_size}));
    if (!model.head_out) return slots;
    switch (config.head) {
        case bert_head::none:
            break;
        case bert_head::sequence_classification:
            slots.push_back(slot("logits", {varies, config.num_labels}));
            break;
        case bert_head::token_classification:
            slots.push_back(slot("logits", {varies, varies, config.num_labels}));
            break;
        case bert_head::masked_words:
            slots.push_back(slot("logits", {varies, varies, config.vocab_size}));
            break;
        case bert_head::question_answering:
            slots.push_back(slot("start_logits", {varies, varies}));
            slots.push_back(slot("end_logits", {varies, varies}));
            break;
    }
    return slots;
}

void carve_heads(const bert_model &model, size_t B, size_t rows, carver &memory, bert_activations &a) noexcept {
    const bert_config &config = model.config;
    const size_t H = config.hidden_size;
    if (model.pooler) a.pooled = memory.take<float>(B, H);
    if (!model.head_out) return;
    switch (config.head) {
        case bert_head::none:
            break;
        case bert_head::sequence_classification:
            if (model.head_dense) a.head = memory.take<float>(B, H);
            a.logits = memory.take<float>(B, config.num_labels);
            break;
        case bert_head::token_classification:
            a.logits = memory.take<float>(rows, config.num_labels);
            break;
        case bert_head::masked_words:
            a.head = memory.take<float>(rows, H);
            a.logits = memory.take<float>(rows, config.vocab_size);
            break;
        case bert_head::question_answering:
            a.head = memory.take<float>(rows, 2);
            a.logits = memory.take<float>(rows, 2);
            break;
    }
}

ss1_status run_heads(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                     const run_control &control, const run_size &size, run_outputs &outputs) {
    const size_t B = size.batch, T = size.tokens, H = model.config.hidden_size;
    bool wants_pooled = false, wants_head = false;
    size_t n = 0;
    const auto add = [&](bool &is_wanted, const float *result) {
        is_wanted |= outputs.wanted[n] != nullptr;
        outputs.results[n++] = result;
    };
    outputs.results[n++] = memory.state;
    if (model.pooler) add(wants_pooled, memory.pooled);
    if (model.head_out) add(wants_head, memory.logits);
    if (model.head_out && model.config.head == bert_head::question_answering) add(wants_head, memory.logits + B * T);
    wants_pooled |= wants_head && reads_pooled(model);
    SS1_TRY(control.check());
    // The pooler reads the first token of each sequence where it stands.
    if (wants_pooled) SS1_TRY(layer_run(*model.pooler, B, memory.state, T * H, memory.pooled, H, memory.scratch));
    return wants_head ? run_head(context, model, memory, control, size) : SS1_OK;
}

}  // namespace ss1
