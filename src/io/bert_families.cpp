// SPDX-License-Identifier: Apache-2.0
#include "io/bert_families.hpp"

#include <algorithm>
#include <array>

#include "base/status.hpp"

namespace ss1 {
namespace {

// Reads JinaBERT's activation, which hidden_act is not.
ss1_status parse_gate(const json &, const json &config, const std::string &label, bert_config &out) {
    std::string type = "original";
    SS1_TRY(json_string(config, label, "feed_forward_type", key::optional, type));
    SS1_CHECK(type == "geglu" || type == "reglu", SS1_ERROR_UNSUPPORTED,
              "%s: feed_forward_type '%s' is not supported with position_embedding_type 'alibi', 'geglu' and 'reglu' "
              "are",
              label.c_str(), printable(type).c_str());
    out.hidden_act = type == "geglu" ? SS1_ACTIVATION_GELU : SS1_ACTIVATION_RELU;
    out.gate = gating::first;
    out.intermediate_bias = false;
    out.has_positions = false;
    return SS1_OK;
}

constexpr std::array<bert_family, 12> families{{
    {.model_type = "bert",
     .architecture = "Bert",
     .variant = bert_variant::bert,
     .has_dense_classifier = false,
     .pretraining = bert_head::masked_words},  // its second head is ignored
    {.model_type = "distilbert",
     .architecture = "DistilBert",
     .variant = bert_variant::distilbert,
     .sizes = {.layers = 6},
     .keys = {"dim", "n_layers", "n_heads", "hidden_dim", "activation"},
     .has_pooler = false,
     .has_types = false,
     .has_eps = false,
     .classifier_act = SS1_ACTIVATION_RELU},
    {.model_type = "roberta",
     .architecture = "Roberta",
     .variant = bert_variant::roberta,
     .sizes = {.vocab_size = 50265, .pad_token_id = 1},
     .counts_positions = true,
     .words_use_gelu = true},
    {.model_type = "xlm-roberta",
     .architecture = "XLMRoberta",
     .variant = bert_variant::roberta,
     .sizes = {.pad_token_id = 1},
     .counts_positions = true,
     .words_use_gelu = true},
    {.model_type = "camembert",
     .architecture = "Camembert",
     .variant = bert_variant::roberta,
     .sizes = {.pad_token_id = 1},
     .counts_positions = true,
     .words_use_gelu = true},
    {.model_type = "electra",
     .architecture = "Electra",
     .variant = bert_variant::electra,
     .sizes = {.hidden_size = 256, .heads = 4, .intermediate_size = 1024, .embedding_size = 128},
     .has_pooler = false,
     .classifier_act = SS1_ACTIVATION_GELU,
     .words_use_gelu = true,
     .pretraining = bert_head::replaced_tokens},
    {.model_type = "mpnet",
     .architecture = "MPNet",
     .variant = bert_variant::mpnet,
     .sizes = {.vocab_size = 30527, .pad_token_id = 1},
     .has_types = false,
     .counts_positions = true,
     .bias = distance_bias::buckets,
     .words_use_gelu = true},
    {.model_type = "albert",
     .architecture = "Albert",
     .variant = bert_variant::albert,
     .sizes =
         {.vocab_size = 30000, .hidden_size = 4096, .heads = 64, .intermediate_size = 16384, .embedding_size = 128},
     .shares_layers = true,
     .has_dense_classifier = false,
     .activation = "gelu_new",
     .pretraining = bert_head::masked_words},
    {.model_type = "modernbert",
     .architecture = "ModernBert",
     .variant = bert_variant::modernbert,
     .sizes = {.vocab_size = 50368, .layers = 22, .intermediate_size = 1152, .positions = 8192},
     .keys = {.activation = "hidden_activation", .eps = "norm_eps"},
     .has_pooler = false,
     .has_types = false,
     .has_dense_classifier = false,
     .eps = 1e-5,
     .parse = parse_modernbert},
    {.model_type = "nomic_bert",
     .architecture = "NomicBert",
     .variant = bert_variant::nomic_hf,
     .sizes = {.positions = 2048},
     .has_dense_classifier = false,
     .pretraining = bert_head::masked_words,
     .parse = parse_nomic_hf},
    {.model_type = "new",
     .architecture = "New",
     .variant = bert_variant::gte,
     .sizes = {.vocab_size = 30528, .positions = 2048, .types = 1, .least_types = 0},
     .has_dense_classifier = false,
     .positions = "rope",
     .parse = parse_gte},
    {.model_type = "deberta-v2",
     .architecture = "DebertaV2",
     .variant = bert_variant::deberta,
     .sizes = {.vocab_size = 128100,
               .hidden_size = 1536,
               .layers = 24,
               .heads = 24,
               .intermediate_size = 6144,
               .types = 0,
               .least_types = 0},
     .has_pooler = false,  // that of its classifier is the dense layer there
     .eps = 1e-7,
     .parse = parse_deberta},
}};

// The model_type of JinaBERT is BERT's; position_embedding_type tells them apart.
constexpr bert_family jina = {.model_type = "bert",
                              .architecture = "JinaBert",
                              .variant = bert_variant::jina,
                              .has_dense_classifier = false,
                              .bias = distance_bias::alibi,
                              .parse = parse_gate};

// NomicBERT's own code writes the keys of GPT-2; files of transformers' class lack them.
constexpr bert_family nomic = {
    .model_type = "nomic_bert",
    .architecture = "NomicBert",
    .variant = bert_variant::nomic,
    .sizes = {.vocab_size = 50257, .positions = 1024, .types = 0, .least_types = 0},
    .keys = {"n_embd", "n_layer", "n_head", "n_inner", nullptr, "n_positions", "layer_norm_epsilon"},
    .has_pooler = false,
    .has_dense_classifier = false,
    .eps = 1e-5,
    .pretraining = bert_head::masked_words,
    .scores_words_alone = true,
    .parse = parse_nomic};

}  // namespace

ss1_status find_bert_family(const json &config, const std::string &model_type, const std::string &label,
                            const bert_family *&out) {
    out = &*std::ranges::find(families, model_type, &bert_family::model_type);
    std::string position(out->positions);
    SS1_TRY(json_string(config, label, "position_embedding_type", key::optional, position));
    if (out->variant == bert_variant::bert && position == "alibi") {
        out = &jina;
        return SS1_OK;
    }
    if (out->variant == bert_variant::nomic_hf && config.find("n_embd")) out = &nomic;
    SS1_CHECK(position == out->positions, SS1_ERROR_UNSUPPORTED,
              "%s: position_embedding_type '%s' is not supported, '%s' is", label.c_str(), printable(position).c_str(),
              std::string(out->positions).c_str());
    return SS1_OK;
}

ss1_status refuse_true(const json &config, const std::string &label, std::initializer_list<const char *> names) {
    for (const char *name : names) {
        bool value = false;
        SS1_TRY(json_bool(config, label, name, key::optional, value));
        SS1_CHECK(!value, SS1_ERROR_UNSUPPORTED, "%s: %s true is not supported", label.c_str(), name);
    }
    return SS1_OK;
}

ss1_status refuse_other(const json &config, const std::string &label, std::initializer_list<const char *> names,
                        double only) {
    for (const char *name : names) {
        double value = only;
        SS1_TRY(json_number(config, label, name, key::optional, value));
        SS1_CHECK(value == only, SS1_ERROR_UNSUPPORTED, "%s: %s %g is not supported, %g is", label.c_str(), name, value,
                  only);
    }
    return SS1_OK;
}

}  // namespace ss1
