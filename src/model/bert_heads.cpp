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
    return m ? layer_run(run.all(), layer, linear_args(m, x, ldx, y, ldy, memory.scratch)) : SS1_OK;
}

// Rows whose words are scored at a time for SPLADE: 16 MB of scores for 30,522 words.
constexpr size_t splade_rows = 128;

// Makes what the head's last layer reads: [m, embedding_size] in memory.transformed.
ss1_status transform(const bert_model &model, const bert_activations &memory, const model_run &run, size_t m,
                     const float *x, size_t ldx) {
    const size_t E = model.config.embedding_size;
    SS1_TRY(run_all(run, *model.head_dense, m, x, ldx, memory.transformed, E, memory));
    normalize(run.context, *model.norm,
              {.x = memory.transformed,
               .r = nullptr,
               .gamma = model.head_norm.gamma.as<float>(),
               .beta = model.head_norm.beta.as<float>(),
               .y = memory.transformed,
               .m = m,
               .n = E,
               .eps = static_cast<float>(model.config.layer_norm_eps)});
    return run.control.check();
}

// Pools the scores of words, block by block: `embedding` receives [B, size] in memory.pooling.
ss1_status run_splade(const bert_model &model, const bert_activations &memory, const model_run &run,
                      std::span<const sequence> sequences, const float *&embedding) {
    const size_t rows = sequences.back().first + sequences.back().length;
    const size_t E = model.config.embedding_size, V = model.config.vocab_size;
    const sentence_config &config = model.sentence.config;
    word_args args = {.scores = memory.logits,
                      .words = V,
                      .begin = 0,
                      .rows = 0,
                      .sequences = sequences,
                      .mode = config.words,
                      .twice = config.log1p_twice,
                      .y = memory.pooling.x};
    std::fill_n(args.y, sequences.size() * V, 0.0f);
    SS1_TRY(transform(model, memory, run, rows, memory.state, model.config.hidden_size));
    for (; args.begin < rows; args.begin += args.rows) {
        args.rows = std::min(splade_rows, rows - args.begin);
        SS1_TRY(run.control.check());
        SS1_TRY(
            run_all(run, *model.head_out, args.rows, memory.transformed + args.begin * E, E, memory.logits, V, memory));
        pool_words(run.context, args);
    }
    finish_words(run.context, args);
    return finish_sentence(model.sentence, sequences.size(), V, memory.pooling.x, embedding);
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
    const bool transforms = config.has_transform();
    const float *x = transforms ? memory.transformed : memory.state;
    const size_t ldx = transforms ? config.embedding_size : H, N = model.head_out->desc.N;
    if (transforms) SS1_TRY(transform(model, memory, run, rows, memory.state, H));
    const auto linear = [&](float *y) { return run_all(run, *model.head_out, rows, x, ldx, y, N, memory); };
    switch (config.head) {
        case bert_head::token_classification:
        case bert_head::masked_words:
            SS1_TRY(linear(memory.logits));
            unpack(memory.logits, sequences, T, N);
            break;
        case bert_head::question_answering:
            SS1_TRY(linear(memory.head));
            split_answers(memory, sequences, T);
            break;
        case bert_head::replaced_tokens:
            SS1_TRY(run_all(run, *model.head_dense, rows, memory.state, H, memory.head, H, memory));
            SS1_TRY(run_all(run, *model.head_out, rows, memory.head, H, memory.logits, 1, memory));
            unpack(memory.logits, sequences, T, 1);
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
    if (model.config.has_transform()) {
        const bool means = model.config.means_tokens;
        SS1_TRY(transform(model, memory, run, B, means ? memory.pooled : memory.state, means ? H : T * H));
        x = memory.transformed;
    } else if (!reads_pooled(model)) {
        SS1_TRY(run_all(run, *model.head_dense, B, memory.state, T * H, memory.head, H, memory));
        x = memory.head;
    }
    return run_all(run, *model.head_out, B, x, H, memory.logits, labels, memory);
}

// Makes the sentence embeddings of packed hidden states.
ss1_status embed(const bert_model &model, const bert_activations &memory, const model_run &run,
                 std::span<const sequence> sequences, const float *&embedding) {
    if (model.sentence.pools_words()) return run_splade(model, memory, run, sequences, embedding);
    return run_sentence(model.sentence, run, memory.state, sequences, model.prompts_in(run.inputs), memory.pooling,
                        memory.scratch, embedding);
}

}  // namespace

std::vector<tensor_slot> output_slots(const bert_model &model) {
    const bert_config &config = model.config;
    const auto slot = [](const char *name, std::initializer_list<size_t> shape) {
        return make_slot(name, SS1_DTYPE_F32, shape, false);
    };
    std::vector<tensor_slot> slots = {slot("last_hidden_state", {varies, varies, config.hidden_size})};
    if (model.has_pooler) slots.push_back(slot("pooled", {varies, config.hidden_size}));
    if (model.sentence.is_there()) slots.push_back(slot("sentence_embedding", {varies, model.sentence.size}));
    if (!model.has_head || model.sentence.pools_words()) return slots;
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
        case bert_head::replaced_tokens:
            slots.push_back(slot("replaced_logits", {varies, varies}));
            break;
    }
    return slots;
}

void carve_heads(const bert_model &model, size_t B, size_t rows, carver &memory, bert_activations &a) noexcept {
    const bert_config &config = model.config;
    const size_t H = config.hidden_size;
    if (model.has_pooler) a.pooled = memory.take<float>(B, H);
    a.pooling = carve_sentence(model.sentence, B, memory);
    if (!model.has_head) return;
    const bool of_sequences = config.head == bert_head::sequence_classification;
    if (config.has_transform()) a.transformed = memory.take<float>(of_sequences ? B : rows, config.embedding_size);
    if (of_sequences && config.means_tokens) a.pooled = memory.take<float>(B, H);
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
            a.logits = memory.take<float>(model.sentence.pools_words() ? std::min(rows, splade_rows) : rows,
                                          config.vocab_size);
            break;
        case bert_head::question_answering:
            a.head = memory.take<float>(rows, 2);
            a.logits = memory.take<float>(rows, 2);
            break;
        case bert_head::replaced_tokens:
            a.head = memory.take<float>(rows, H);
            a.logits = memory.take<float>(rows, 1);
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
    if (model.sentence.is_there()) {
        if (outputs.wanted[n]) SS1_TRY(embed(model, memory, run, sequences, outputs.results[n]));
        ++n;
    }
    if (model.has_head && !model.sentence.pools_words()) add(wants_head, memory.logits);
    if (model.has_head && model.config.head == bert_head::question_answering) add(wants_head, memory.logits + B * T);
    wants_pooled |= wants_head && reads_pooled(model);
    SS1_TRY(run.control.check());
    if (wants_head && of_sequences && model.config.means_tokens) {
        constexpr pooling_mode mean = pooling_mode::mean;
        pool(run.context, {.rows = memory.state,
                           .width = H,
                           .sequences = sequences,
                           .modes = {&mean, 1},
                           .skip = nullptr,
                           .y = memory.pooled});
    }
    if (wants_head && !of_sequences) SS1_TRY(run_token_head(model, memory, run, sequences));
    if (outputs.wanted[0] || wants_pooled || (wants_head && of_sequences)) unpack(memory.state, sequences, T, H);
    // The pooler reads the first token of each sequence in place.
    if (wants_pooled) SS1_TRY(run_all(run, *model.pooler, B, memory.state, T * H, memory.pooled, H, memory));
    return wants_head && of_sequences ? run_sequence_head(model, memory, run) : SS1_OK;
}

}  // namespace ss1
