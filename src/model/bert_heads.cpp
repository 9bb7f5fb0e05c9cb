// SPDX-License-Identifier: Apache-2.0
// Pooler and head of a BERT. Heads of tokens compute rows without padding, and then move them to the places of [B, T]
// tokens.
#include <cstring>

#include "model/bert.hpp"
#include "op/norm.hpp"

namespace ss1 {
namespace {

// y = layer(x) for m rows on all threads.
ss1_status run_all(const model_run &run, const ss1_layer &layer, size_t m, const float *x, size_t ldx, float *y,
                   size_t ldy, const bert_activations &memory) {
    return m ? layer_run(run.context, layer, linear_args(m, x, ldx, y, ldy, memory.scratch)) : SS1_OK;
}

// Scores words: writes [rows, vocab_size] to memory.logits.
ss1_status score_words(const bert_model &model, const bert_activations &memory, const model_run &run, size_t rows) {
    const bert_config &config = model.config;
    const size_t H = config.hidden_size;
    SS1_TRY(run_all(run, *model.head_dense, rows, memory.state, H, memory.head, H, memory));
    normalize(run.context, *model.norm,
              {.x = memory.head,
               .r = nullptr,
               .gamma = model.head_norm.gamma.as<float>(),
               .beta = model.head_norm.beta.as<float>(),
               .y = memory.head,
               .m = rows,
               .n = H,
               .eps = static_cast<float>(config.layer_norm_eps)});
    SS1_TRY(run.control.check());
    return run_all(run, *model.head_out, rows, memory.head, H, memory.logits, config.vocab_size, memory);
}

// Moves the rows of each sequence to the places of [B, T] tokens and writes zeros to the others. Back to front, in
// place.
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

// Runs a head of tokens: memory.state is packed, memory.logits becomes [B, T, ...].
ss1_status run_token_head(const bert_model &model, const bert_activations &memory, const model_run &run,
                          std::span<const sequence> sequences) {
    const bert_config &config = model.config;
    const size_t rows = sequences.back().first + sequences.back().length, H = config.hidden_size, T = run.size.tokens;
    const auto linear = [&](float *y) {
        return run_all(run, *model.head_out, rows, memory.state, H, y, model.head_out->desc.N, memory);
    };
    switch (config.head) {
        case bert_head::token_classification:
            SS1_TRY(linear(memory.logits));
            unpack(memory.logits, sequences, T, config.num_labels);
            break;
        case bert_head::masked_words:
            SS1_TRY(score_words(model, memory, run, rows));
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

// Runs a head of sequences, whose first tokens lie T rows apart.
ss1_status run_sequence_head(const bert_model &model, const bert_activations &memory, const model_run &run) {
    const size_t H = model.config.hidden_size, labels = model.config.num_labels;
    const auto [B, T] = run.size;
    const float *x = memory.pooled;
    if (!reads_pooled(model)) {
        SS1_TRY(run_all(run, *model.head_dense, B, memory.state, T * H, memory.head, H, memory));
        x = memory.head;
    }
    return run_all(run, *model.head_out, B, x, H, memory.logits, labels, memory);
}

}  // namespace

std::vector<tensor_slot> output_slots(const bert_model &model) {
    const bert_config &config = model.config;
    const auto slot = [](const char *name, std::initializer_list<size_t> shape) {
        return make_slot(name, SS1_DTYPE_F32, shape, false);
    };
    std::vector<tensor_slot> slots = {slot("last_hidden_state", {varies, varies, config.hidden_size})};
    if (model.has_pooler) slots.push_back(slot("pooled", {varies, config.hidden_size}));
    if (!model.has_head) return slots;
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
    if (model.has_pooler) a.pooled = memory.take<float>(B, H);
    if (!model.has_head) return;
    switch (config.head) {
        case bert_head::none:
            break;
        case bert_head::sequence_classification:
            if (model.config.has_pre_classifier()) a.head = memory.take<float>(B, H);
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

ss1_status run_heads(const bert_model &model, const bert_activations &memory, model_run &run,
                     std::span<const sequence> sequences) {
    const size_t B = run.size.batch, T = run.size.tokens, H = model.config.hidden_size;
    const bool of_sequences = model.config.head == bert_head::sequence_classification;
    run_outputs &outputs = run.outputs;
    bool wants_pooled = false, wants_head = false;
    size_t n = 0;
    const auto add = [&](bool &is_wanted, const float *result) {
        is_wanted |= outputs.wanted[n] != nullptr;
        outputs.results[n++] = result;
    };
    outputs.results[n++] = memory.state;
    if (model.has_pooler) add(wants_pooled, memory.pooled);
    if (model.has_head) add(wants_head, memory.logits);
    if (model.has_head && model.config.head == bert_head::question_answering) add(wants_head, memory.logits + B * T);
    wants_pooled |= wants_head && reads_pooled(model);
    SS1_TRY(run.control.check());
    if (wants_head && !of_sequences) SS1_TRY(run_token_head(model, memory, run, sequences));
    unpack(memory.state, sequences, T, H);
    // The pooler reads the first token of each sequence in place.
    if (wants_pooled) SS1_TRY(run_all(run, *model.pooler, B, memory.state, T * H, memory.pooled, H, memory));
    return wants_head && of_sequences ? run_sequence_head(model, memory, run) : SS1_OK;
}

}  // namespace ss1
