// SPDX-License-Identifier: Apache-2.0
// What a BERT does with its hidden states: pooler and head. What is made of each token is made of rows without padding,
// and then put where [B, T] tokens have it.
#include <cstring>

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

// Puts the rows of each sequence where [B, T] tokens have them, zeros where there is none. Back to front, in place.
void unpack(float *rows, std::span<const sequence> sequences, size_t T, size_t columns) noexcept {
    for (size_t s = sequences.size(); s-- > 0;) {
        float *to = rows + s * T * columns, *end = to + sequences[s].length * columns;
        const float *from = rows + sequences[s].first * columns;
        if (to != from) std::memmove(to, from, sequences[s].length * columns * sizeof(float));
        std::fill(end, to + T * columns, 0.0f);
    }
}

// memory.head holds (start, end) of each row; memory.logits gets the starts of all [B, T] tokens, then their ends.
void split_answers(const bert_activations &memory, std::span<const sequence> sequences, size_t T) noexcept {
    float *starts = memory.logits, *ends = starts + sequences.size() * T;
    std::fill(starts, ends + sequences.size() * T, 0.0f);
    for (const sequence &s : sequences) {
        for (size_t t = 0; t < s.length; ++t) {
            starts[t] = memory.head[2 * (s.first + t)];
            ends[t] = memory.head[2 * (s.first + t) + 1];
        }
        starts += T;
        ends += T;
    }
}

bool reads_pooled(const bert_model &model) noexcept {
    return model.config.head == bert_head::sequence_classification && !model.head_dense;
}

// Of all tokens: memory.state is packed, memory.logits is [B, T, ...].
ss1_status run_token_head(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                          const run_control &control, std::span<const sequence> sequences, size_t T) {
    const bert_config &config = model.config;
    const size_t rows = sequences.back().first + sequences.back().length, H = config.hidden_size;
    const auto linear = [&](float *y) {
        return layer_run(*model.head_out, rows, memory.state, H, y, model.head_out->desc.N, memory.scratch);
    };
    switch (config.head) {
        case bert_head::token_classification:
            SS1_TRY(linear(memory.logits));
            unpack(memory.logits, sequences, T, config.num_labels);
            break;
        case bert_head::masked_words:
            SS1_TRY(score_words(context, model, memory, control, rows));
            unpack(memory.logits, sequences, T, config.vocab_size);
            break;
        case bert_head::question_answering:
            SS1_TRY(linear(memory.head));
            split_answers(memory, sequences, T);
            break;
        case bert_head::none:
        case bert_head::sequence_classification:
            break;
    }
    return SS1_OK;
}

// Of whole sequences: their first tokens lie T rows apart.
ss1_status run_sequence_head(const bert_model &model, const bert_activations &memory, size_t B, size_t T) {
    const size_t H = model.config.hidden_size, labels = model.config.num_labels;
    const float *x = memory.pooled;
    if (!reads_pooled(model)) {
        SS1_TRY(layer_run(*model.head_dense, B, memory.state, T * H, memory.head, H, memory.scratch));
        x = memory.head;
    }
    return layer_run(*model.head_out, B, x, H, memory.logits, labels, memory.scratch);
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
                     const run_control &control, std::span<const sequence> sequences, size_t T, run_outputs &outputs) {
    const size_t B = sequences.size(), H = model.config.hidden_size;
    const bool of_sequences = model.config.head == bert_head::sequence_classification;
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
    if (wants_head && !of_sequences) SS1_TRY(run_token_head(context, model, memory, control, sequences, T));
    unpack(memory.state, sequences, T, H);
    // The pooler reads the first token of each sequence where it stands.
    if (wants_pooled) SS1_TRY(layer_run(*model.pooler, B, memory.state, T * H, memory.pooled, H, memory.scratch));
    return wants_head && of_sequences ? run_sequence_head(model, memory, B, T) : SS1_OK;
}

}  // namespace ss1
