// SPDX-License-Identifier: Apache-2.0
// config.json of BERT, DistilBERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, MPNet, ALBERT, JinaBERT, ModernBERT,
// NomicBERT, GTE and DeBERTa (v2, v3), which share one graph with few differences.
#pragma once
#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "io/model_shapes.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// The model type that defines the names of tensors; XLM-RoBERTa and CamemBERT have RoBERTa's.
// `nomic` are files of NomicBERT's own code, `nomic_hf` those of transformers' class; `deberta_lm` are DeBERTas whose
// head for masked words has the names of their authors.
enum class bert_variant {
    bert,
    distilbert,
    roberta,
    electra,
    mpnet,
    albert,
    jina,
    modernbert,
    nomic,
    nomic_hf,
    gte,
    deberta,
    deberta_lm
};
// What is added to the scores of the attention for the distance of two tokens: MPNet's table, or ALiBi (Press et al.,
// ICLR 2022), a slope for each head.
enum class distance_bias { none, buckets, alibi };
// The half of what `intermediate` makes that the activation takes before it is multiplied by the other half.
enum class gating { none, first, second };
// The rotation of queries and keys by their position (Su et al., 2021). Pair k of `size` elements of a head turns by
// factor^(-2 / size) (theta factor)^(-2 k / size) with each position; size 0: none.
struct rotary_config {
    size_t size = 0;
    double theta = 10000, factor = 1;
};
// DeBERTa's table of distances: `span` rows for keys after their query, then `span` for others. The attention adds the
// products of each query with `keys` and of each key with `queries`, which layers make from the rows.
struct relative_config {
    size_t span = 0;      // 0: there is no table
    size_t buckets = 0;   // distances above half of it share rows, on a logarithmic scale; 0: each has its own
    size_t farthest = 0;  // the distance where the scale ends
    bool keys = false, queries = false;
    bool shares_layers = false;  // those of the tokens' keys and queries make them, too
    bool has_norm = false;       // over the rows of the table

    size_t rows() const noexcept { return 2 * span; }
    // The end of the scale, as a multiple of its beginning; there are buckets.
    float scale_end() const noexcept {
        return static_cast<float>(static_cast<double>(farthest - 1) / static_cast<double>(buckets / 2));
    }
    // The row of a key that is `distance` tokens after its query.
    size_t row_of(ptrdiff_t distance) const noexcept;
};
// The layers after the hidden states.
enum class bert_head {
    none,
    sequence_classification,
    token_classification,
    masked_words,
    question_answering,
    replaced_tokens  // ELECTRA's discriminator
};

// The defaults are those of transformers' configuration_bert.py.
struct bert_config {
    bert_variant variant = bert_variant::bert;
    bert_head head = bert_head::none;
    // What the model type decides.
    bool has_pooler = true;         // a dense layer with tanh on the first token
    bool counts_positions = false;  // from pad_token_id + 1 on, without padding
    distance_bias bias = distance_bias::none;
    bool has_positions = true;  // a table of them, which is added to the words
    relative_config relative;
    bool blanks_masked = false;  // tokens that the mask hides begin as zeros and see all tokens equally
    gating gate = gating::none;
    bool splits_gate = false;            // the halves of `intermediate` are two layers
    bool packs_qkv = false;              // one layer makes queries, keys and values
    bool norms_first = false;            // in front of attention and intermediate, and behind the last layer
    rotary_config rotary, local_rotary;  // of layers that see all tokens, and of local layers
    size_t window = 0;                   // a query of a local layer sees keys at most this far away
    std::vector<bool> local_layers;      // of each layer; empty: none
    // Whether layers have a bias: queries to values, attention_output, intermediate, output, those of masked words; and
    // the norms of encoder and head.
    bool qkv_bias = true, attention_bias = true, intermediate_bias = true, output_bias = true, transform_bias = true,
         decoder_bias = true, norm_bias = true;
    bool transforms_all = false;        // every head begins as that for masked words: dense, activation, norm
    bool means_tokens = false;          // the classifier of sequences reads the mean of the tokens, not the first
    bool projects_embeddings = false;   // a layer from embedding_size to hidden_size behind the embeddings
    bool has_dense_classifier = false;  // a dense layer before the classifier, in place of the pooler
    ss1_activation classifier_act = SS1_ACTIVATION_TANH;  // of that layer
    ss1_activation words_act = SS1_ACTIVATION_GELU;       // of the dense layer before the scores of words
    // config.json names no architecture: a BERT then has pooler and classifier if its files have their tensors.
    bool head_optional = false;
    size_t vocab_size = 30522;
    size_t hidden_size = 768;
    size_t embedding_size = 768;  // width of the embeddings and of what scores words: hidden_size for most
    size_t num_hidden_layers = 12;
    size_t num_hidden_groups = 0;  // ALBERT: stored layers, each of which runs several times; 0: each runs once
    size_t num_attention_heads = 12;
    size_t intermediate_size = 3072;
    ss1_activation hidden_act = SS1_ACTIVATION_GELU;
    size_t max_position_embeddings = 512;
    size_t type_vocab_size = 2;  // 0: no token types
    double layer_norm_eps = 1e-12;
    size_t pad_token_id = 0;  // affects positions that are counted
    bool tie_word_embeddings = true;
    size_t num_labels = 2;
    std::vector<std::string> labels;  // id2label by id; empty: config.json has none

    bool has_pre_classifier() const noexcept {
        return head == bert_head::sequence_classification && has_dense_classifier;
    }
    size_t stored_layers() const noexcept { return num_hidden_groups ? num_hidden_groups : num_hidden_layers; }
    // The stored layer of encoder layer i. ALBERT's is computed in double, as transformers does.
    size_t stored_layer(size_t i) const noexcept {
        const auto layers = static_cast<double>(num_hidden_layers), groups = static_cast<double>(num_hidden_groups);
        return num_hidden_groups ? static_cast<size_t>(static_cast<double>(i) / (layers / groups)) : i;
    }
    // Whether a dense layer with an activation and a norm precede the head's last layer.
    bool has_transform() const noexcept {
        return head == bert_head::masked_words || (transforms_all && head != bert_head::none);
    }
    // The names of an encoder layer's two norms: behind attention and output, or in front of attention ("": none) and
    // intermediate.
    std::array<std::string, 2> norms(size_t i) const;
    bool is_local(size_t i) const noexcept { return i < local_layers.size() && local_layers[i]; }
    // Linear layers of an encoder layer that make queries, keys and values, and its intermediate.
    size_t qkv_layers() const noexcept { return packs_qkv ? 1 : 3; }
    size_t intermediate_layers() const noexcept { return splits_gate ? 2 : 1; }
    size_t encoder_layers() const noexcept { return qkv_layers() + intermediate_layers() + 2; }
    bool has_labels() const noexcept {
        return head == bert_head::sequence_classification || head == bert_head::token_classification ||
               head == bert_head::question_answering;
    }
    // The position of the first token.
    size_t first_position() const noexcept { return counts_positions ? pad_token_id + 1 : 0; }
    size_t max_tokens() const noexcept { return max_position_embeddings - first_position(); }
};

// `label` names the file in messages. `body_only`: the model has no head, whatever the architecture.
// @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED.
ss1_status bert_config_parse(const json &root, const std::string &model_type, const std::string &label,
                             bert_config &out, bool body_only = false);

// The layer that makes DeBERTa's keys or queries of distances for an encoder layer: one of add_bert_layers(), or one
// that only tensors tell of.
linear_shape relative_layer(const bert_config &bert, size_t encoder, bool of_keys);

// Rows of MPNet's table of relative positions; the number is fixed in transformers.
inline constexpr size_t relative_buckets = 32;

// Append the linear layers, those of the encoder first, then in the order of execution, and the tensors that belong to
// no linear layer.
void add_bert_layers(const bert_config &bert, std::vector<linear_shape> &layers);
void add_bert_tensors(const bert_config &bert, std::vector<tensor_spec> &tensors);

}  // namespace ss1
