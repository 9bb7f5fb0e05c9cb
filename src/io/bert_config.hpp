// SPDX-License-Identifier: Apache-2.0
// config.json of BERT, DistilBERT, RoBERTa and XLM-RoBERTa, which share one graph with few differences.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "io/model_shapes.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// The model type that defines the graph; XLM-RoBERTa has RoBERTa's.
enum class bert_variant { bert, distilbert, roberta };
// The layers after the hidden states.
enum class bert_head { none, sequence_classification, token_classification, masked_words, question_answering };

// The defaults are those of transformers' configuration_bert.py.
struct bert_config {
    bert_variant variant = bert_variant::bert;
    bert_head head = bert_head::none;
    // config.json names no architecture: a BERT then has pooler and classifier if its files have their tensors.
    bool head_optional = false;
    size_t vocab_size = 30522;
    size_t hidden_size = 768;
    size_t num_hidden_layers = 12;
    size_t num_attention_heads = 12;
    size_t intermediate_size = 3072;
    ss1_activation hidden_act = SS1_ACTIVATION_GELU;
    size_t max_position_embeddings = 512;
    size_t type_vocab_size = 2;  // 0: no token types
    double layer_norm_eps = 1e-12;
    size_t pad_token_id = 0;  // affects RoBERTa's positions
    bool tie_word_embeddings = true;
    size_t num_labels = 2;
    std::vector<std::string> labels;  // id2label by id; empty: config.json has none

    bool has_pooler() const noexcept { return variant != bert_variant::distilbert; }
    // DistilBERT and RoBERTa have a dense layer before the classifier in place of the pooler.
    bool has_pre_classifier() const noexcept {
        return head == bert_head::sequence_classification && variant != bert_variant::bert;
    }
    bool has_labels() const noexcept {
        return head == bert_head::sequence_classification || head == bert_head::token_classification ||
               head == bert_head::question_answering;
    }
    // The position of the first token.
    size_t first_position() const noexcept { return variant == bert_variant::roberta ? pad_token_id + 1 : 0; }
    size_t max_tokens() const noexcept { return max_position_embeddings - first_position(); }
};

// `label` names the file in messages. `body_only`: the model has no head, whatever the architecture.
// @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED.
ss1_status bert_config_parse(const json &root, const std::string &model_type, const std::string &label,
                             bert_config &out, bool body_only = false);

// Append the linear layers in the order of execution, and the tensors that belong to no linear layer.
void add_bert_layers(const bert_config &bert, std::vector<linear_shape> &layers);
void add_bert_tensors(const bert_config &bert, std::vector<tensor_spec> &tensors);

}  // namespace ss1
