// SPDX-License-Identifier: Apache-2.0
// BERT and its relatives, with Hugging Face's graph: embeddings, encoder layers, pooler, head.
#pragma once
#include "model/layers.hpp"
#include "model/sentence.hpp"
#include "model/session.hpp"
#include "op/attention.hpp"

namespace ss1 {

enum bert_input { input_ids, attention_mask, token_type_ids };

// The linear layers of an encoder layer, in the order of linear_layers(). Neighbours that run as one share their layer.
struct encoder_part {
    std::span<const named_layer> qkv;
    const ss1_layer &attention_output;
    std::span<const named_layer> intermediate;
    const ss1_layer &output;
};

// Stages of a run whose time is measured. `norm` counts the encoder layers alone; linear layers add the residuals.
enum class bert_stage { embed, qkv, attention, attention_output, intermediate, output, norm, heads };
inline constexpr size_t n_bert_stages = 8;

// Holds the activations of up to max_batch * max_tokens rows, all in the session's memory.
struct bert_activations {
    float *embedded;  // [rows, embedding_size], where a layer projects them; else NULL
    float *state;     // [rows, H]: outputs of the encoder layers, packed; in the end [B, T, H], zeros as padding
    char *qkv;        // rows of qkv_row_bytes: queries, keys and values; the attention's result replaces the queries
    sequence *sequences;  // [B]
    float *mask;          // [B, T], for sequences whose mask is not a length
    float *pooled;        // [B, H]
    float *head;          // between the layers of the head: [B, H], [rows, H] or [rows, 2]
    float *transformed;   // [B, embedding_size] or [rows, embedding_size], see bert_config::has_transform()
    float *logits;        // [B, labels], [rows, labels], [rows, vocab_size] or [rows]; answers: [2, rows], starts, ends
    sentence_rows pooling;
    void *scratch;         // for the heads' layers
    char *memory;          // for the workers between attentions, and for the attention
    double *task_seconds;  // [threads, stages]
};

struct bert_model {
    using activations = bert_activations;
    static constexpr const char *stages[] = {"embed",        "qkv",    "attention", "attention_output",
                                             "intermediate", "output", "norm",      "heads"};

    bert_config config;
    // Those of each stored encoder layer, then those of embeddings, pooler, head and sentence that are there.
    std::vector<named_layer> layers;
    bool has_pooler = false, has_head = false;  // known before the layers are loaded
    // Point into `layers`; NULL where the model has none. A head without a dense layer reads the pooler or the tokens.
    const ss1_layer *projection = nullptr, *pooler = nullptr, *head_dense = nullptr, *head_out = nullptr;
    bool adds_residual = false;       // every layer does
    norm_weights head_norm;           // of the head's transform
    std::vector<std::string> labels;  // of the classes, if it is a classifier
    sentence_graph sentence;
    buffer word, position, type;  // type: empty where the model has none
    norm_weights embedding_norm;
    std::vector<norm_weights> norms;  // two of each stored layer, see bert_config::norms(); empty where one is not
    norm_weights last_norm;           // behind the encoder layers; or empty
    buffer rotary, local_rotary;      // [max_tokens, size], see make_rotary_table(); or empty
    buffer bias;                      // [heads, 2 * max_tokens - 1] of each distance, see attention_args; or empty
    // Tables of each encoder layer's keys and queries of distances, and the row of each, see position_terms; or empty.
    std::vector<buffer> position_keys, position_queries;
    buffer row_of_distance;
    size_t position_step = 1;
    size_t position_parameters = 0;
    attention_kernels attention;
    const norm_kernel *norm = nullptr;
    const activation_kernel *gate = nullptr;  // of a gated `intermediate`; NULL: none
    // Row strides are equal for all encoder layers, whatever their dtypes: tasks may be one layer apart.
    size_t qkv_row_bytes = 0, intermediate_ld = 0, intermediate_row_bytes = 0;

    // Bytes of an element that the encoder layer's attention reads and writes.
    size_t qkv_size(size_t encoder) const noexcept {
        return size_of(static_cast<dtype>(layers[encoder * config.encoder_layers()].layer->desc.y_dtype));
    }
    encoder_part encoder(size_t i) const noexcept {
        const auto all = std::span(layers).subspan(i * config.encoder_layers(), config.encoder_layers());
        const size_t n = config.qkv_layers();
        return {all.first(n), *all[n].layer, all.subspan(n + 1, config.intermediate_layers()), *all.back().layer};
    }
    size_t qkv_ld(size_t encoder) const noexcept { return qkv_row_bytes / qkv_size(encoder); }

    bool has_position_terms() const noexcept { return config.relative.span != 0; }
    position_terms terms_of(size_t encoder) const noexcept;

    // The values of inputs that not every model takes; NULL if it does not, or none were given.
    const int64_t *types_in(const tensor_list<const ss1_tensor> &inputs) const noexcept {
        return config.type_vocab_size ? ids_of(inputs[token_type_ids]) : nullptr;
    }
    const int64_t *prompts_in(const tensor_list<const ss1_tensor> &inputs) const noexcept {
        return sentence.takes_prompts() ? ids_of(inputs[config.type_vocab_size ? 3 : 2]) : nullptr;
    }
};

static_assert(std::size(bert_model::stages) == n_bert_stages);

// The functions of a family, see families.hpp.
ss1_status prepare(const model_directory &from, bert_model &out);
ss1_status load(ss1_context &context, const model_directory &from, bert_model &out);
std::vector<tensor_slot> input_slots(const bert_model &model);
std::vector<tensor_slot> output_slots(const bert_model &model);
void describe(const bert_model &model, ss1_model_info &info) noexcept;
ss1_status resolve_bounds(const bert_model &model, session_bounds &bounds) noexcept;
bert_activations carve(const ss1_context &context, const bert_model &model, const session_bounds &bounds,
                       carver &memory) noexcept;
ss1_status check_sizes(const bert_model &model, const session_bounds &bounds,
                       const tensor_list<const ss1_tensor> &inputs, run_size &size);
ss1_status check_values(const bert_model &model, const tensor_list<const ss1_tensor> &inputs);
ss1_status run(const bert_model &model, const bert_activations &memory, model_run &run);

// Makes the tables of position terms, if the model has any. Its norm and attention kernels are set.
ss1_status load_position_terms(ss1_context &context, const model_directory &from, bert_model &out);

// `rows` is max_batch * max_tokens.
void carve_heads(const bert_model &model, size_t max_batch, size_t rows, carver &memory, bert_activations &a) noexcept;
// Computes memory.pooled and memory.logits, as far as wanted, from the hidden states in memory.state; unpacks those.
ss1_status run_heads(const bert_model &model, const bert_activations &memory, model_run &run,
                     std::span<const sequence> sequences);

}  // namespace ss1
