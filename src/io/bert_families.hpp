// SPDX-License-Identifier: Apache-2.0
// The relatives of BERT: one row for each way to write config.json.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

#include "io/bert_config.hpp"

namespace ss1 {

// How config.json names the sizes.
struct bert_keys {
    const char *hidden_size = "hidden_size", *layers = "num_hidden_layers", *heads = "num_attention_heads",
               *intermediate_size = "intermediate_size", *activation = "hidden_act",
               *positions = "max_position_embeddings", *eps = "layer_norm_eps";
};

// What a size is if config.json does not say it. embedding_size 0: it is hidden_size.
struct bert_sizes {
    size_t vocab_size = 30522, hidden_size = 768, layers = 12, heads = 12, intermediate_size = 3072, pad_token_id = 0,
           embedding_size = 0, positions = 512, types = 2, least_types = 1;
};

// What a model_type decides: `architecture` begins the names of its architectures.
struct bert_family {
    std::string_view model_type, architecture;
    bert_variant variant;
    bert_sizes sizes = {};
    bert_keys keys = {};
    bool has_pooler = true, has_types = true, has_eps = true, counts_positions = false, shares_layers = false,
         has_dense_classifier = true;
    distance_bias bias = distance_bias::none;
    ss1_activation classifier_act = SS1_ACTIVATION_TANH;
    bool words_use_gelu = false;  // whatever hidden_act is
    std::string_view activation = "gelu";
    double eps = 1e-12;
    std::string_view positions = "absolute";  // position_embedding_type
    bert_head pretraining = bert_head::none;  // of ...ForPreTraining; none: there is no such class
    bool scores_words_alone = false;          // no other head is known
    // Reads the keys that no other family has. `root` still has its nulls; NULL: there are none.
    ss1_status (*parse)(const json &root, const json &config, const std::string &label, bert_config &out) = nullptr;
};

ss1_status find_bert_family(const json &config, const std::string &model_type, const std::string &label,
                            const bert_family *&out);

ss1_status parse_bert_activation(const json &config, const std::string &label, const char *name,
                                 std::string_view otherwise, ss1_activation &out);

// Refuse true, and numbers other than `only`.
ss1_status refuse_true(const json &config, const std::string &label, std::initializer_list<const char *> names);
ss1_status refuse_other(const json &config, const std::string &label, std::initializer_list<const char *> names,
                        double only);

// These are the members `parse` of rows.
ss1_status parse_modernbert(const json &root, const json &config, const std::string &label, bert_config &out);
ss1_status parse_nomic(const json &root, const json &config, const std::string &label, bert_config &out);
ss1_status parse_nomic_hf(const json &root, const json &config, const std::string &label, bert_config &out);
ss1_status parse_gte(const json &root, const json &config, const std::string &label, bert_config &out);
ss1_status parse_deberta(const json &root, const json &config, const std::string &label, bert_config &out);

}  // namespace ss1
