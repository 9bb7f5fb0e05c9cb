// SPDX-License-Identifier: Apache-2.0
// BERT as Hugging Face has it, with its relatives: embeddings, encoder layers, pooler, head.
#pragma once
#include "model/layers.hpp"
#include "model/session.hpp"
#include "op/attention.hpp"

namespace ss1 {

enum bert_input { input_ids, attention_mask, token_type_ids };
enum encoder_layer {
    to_query,
    to_key,
    to_value,
    attention_output,
    intermediate,
    output,
    per_encoder
};  // order of linear_layers()

inline const int64_t *ids_of(const ss1_tensor *tensor) noexcept {
    return tensor ? static_cast<const int64_t *>(tensor->data) : nullptr;
}

// Where the time of a run goes. `norm` are the encoder layers' alone; residuals are added by the linear layers.
enum class bert_stage { embed, qkv, attention, attention_output, intermediate, output, norm, heads };
inline constexpr size_t n_bert_stages = 8;

// Activations of up to max_batch * max_tokens rows, all in the session's memory.
struct bert_activations {
    float *state;  // [rows, H]: what the encoder layers hand on, packed; in the end [B, T, H], zeros as padding
    char *qkv;     // rows of qkv_row_bytes: queries, keys and values; the attention's result takes the place of queries
    sequence *sequences;    // [B]
    float *mask;            // [B, T]: of sequences whose mask is not a length
    float *pooled;          // [B, H]
    float *head;            // what the head has between its layers: [B, H], [rows, H] or [rows, 2]
    float *logits;          // [B, labels], [rows, labels] or [rows, vocab_size]; answers: [2, rows], starts and ends
    void *scratch;          // of the heads' layers
    char *memory;           // of the tasks between attentions, and of the attention
    double *task_seconds;   // [threads, stages]
    double *stage_seconds;  // [stages], the caller's: what runs add their time to; NULL: nobody asks
};

struct norm_weights {
    buffer gamma, beta;
};

struct bert_model {
    using activations = bert_activations;

    bert_config config;
    std::vector<named_layer> layers;  // six of each encoder layer, then those of pooler and head that are there
    // Among the layers; NULL where the model has none. A head without a dense layer reads the pooler or the tokens.
    const ss1_layer *pooler = nullptr, *head_dense = nullptr, *head_out = nullptr;
    norm_weights head_norm;           // between the layers that score masked words
    std::vector<std::string> labels;  // of the classes, if it is a classifier
    buffer word, position, type;      // type: empty where the model has none
    norm_weights embedding_norm;
    std::vector<norm_weights> norms;  // two of each encoder layer: after the attention, after the output
    attention_kernels attention;
    const norm_kernel *norm = nullptr;
    // A row has its place whatever the type of an encoder layer: rows of one are read while others are of the next.
    size_t qkv_row_bytes = 0, intermediate_ld = 0, intermediate_row_bytes = 0;

    // Bytes of a query's element, and of whatever else the encoder layer's attention reads and writes.
    size_t qkv_size(size_t encoder) const noexcept {
        return size_of(static_cast<dtype>(layers[encoder * per_encoder].layer->desc.y_dtype));
    }
    size_t qkv_ld(size_t encoder) const noexcept { return qkv_row_bytes / qkv_size(encoder); }
};

ss1_status load(ss1_context &context, const model_directory &from, bert_model &out);
std::vector<tensor_slot> input_slots(const bert_model &model);
std::vector<tensor_slot> output_slots(const bert_model &model);
size_t table_bytes(const bert_model &model) noexcept;  // weights that are not in layers
size_t table_parameters(const bert_model &model) noexcept;

ss1_status resolve_bounds(const bert_model &model, session_bounds &bounds) noexcept;
// `rows` is max_batch * max_tokens.
void carve_heads(const bert_model &model, size_t max_batch, size_t rows, carver &memory, bert_activations &a) noexcept;
bert_activations carve(const ss1_context &context, const bert_model &model, const session_bounds &bounds,
                       carver &memory) noexcept;

// Inputs are matched; this checks how they go together, what fits the session, and every value.
ss1_status check_inputs(const bert_model &model, const session_bounds &bounds,
                        const tensor_list<const ss1_tensor> &inputs, run_size &size);
ss1_status run(const ss1_context &context, const bert_model &model, const bert_activations &memory,
               const run_control &control, const tensor_list<const ss1_tensor> &inputs, const run_size &size,
               run_outputs &outputs);
// From the hidden states in memory.state to memory.pooled and memory.logits, as far as wanted; unpacks what is packed.
ss1_status run_heads(const ss1_context &context, const bert_model &model, const bert_activations &memory,
                     const run_control &control, std::span<const sequence> sequences, size_t T, run_outputs &outputs);

}  // namespace ss1
