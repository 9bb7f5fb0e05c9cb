// SPDX-License-Identifier: Apache-2.0
#include "io/bert_config.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/status.hpp"
#include "io/limits.hpp"

namespace ss1 {
namespace {

// The keys of a model_type for its sizes, its defaults, and the prefix of its architectures.
struct family {
    std::string_view model_type, architecture;
    bert_variant variant;
    size_t vocab_size, num_hidden_layers, pad_token_id;
    const char *hidden_size_key, *layers_key, *heads_key, *intermediate_size_key, *activation_key;
};
constexpr std::array<family, 4> families{{
    {"bert", "Bert", bert_variant::bert, 30522, 12, 0, "hidden_size", "num_hidden_layers", "num_attention_heads",
     "intermediate_size", "hidden_act"},
    {"distilbert", "DistilBert", bert_variant::distilbert, 30522, 6, 0, "dim", "n_layers", "n_heads", "hidden_dim",
     "activation"},
    {"roberta", "Roberta", bert_variant::roberta, 50265, 12, 1, "hidden_size", "num_hidden_layers",
     "num_attention_heads", "intermediate_size", "hidden_act"},
    {"xlm-roberta", "XLMRoberta", bert_variant::roberta, 30522, 12, 1, "hidden_size", "num_hidden_layers",
     "num_attention_heads", "intermediate_size", "hidden_act"},
}};

struct architecture {
    std::string_view name;  // after the family's prefix
    bert_head head;
};
constexpr std::array<architecture, 6> architectures{
    {{"Model", bert_head::none},
     {"ForSequenceClassification", bert_head::sequence_classification},
     {"ForTokenClassification", bert_head::token_classification},
     {"ForMaskedLM", bert_head::masked_words},
     {"ForQuestionAnswering", bert_head::question_answering},
     {"ForPreTraining", bert_head::masked_words}}};  // BERT only; its second head is ignored

ss1_status parse_activation(const json &config, const std::string &label, const char *name, ss1_activation &out) {
    struct row {
        std::string_view name;
        ss1_activation activation;
    };
    static constexpr std::array<row, 12> rows{{{"gelu", SS1_ACTIVATION_GELU},
                                               {"gelu_python", SS1_ACTIVATION_GELU},
                                               {"gelu_new", SS1_ACTIVATION_GELU_TANH},
                                               {"gelu_fast", SS1_ACTIVATION_GELU_TANH},
                                               {"gelu_accurate", SS1_ACTIVATION_GELU_TANH},
                                               {"gelu_pytorch_tanh", SS1_ACTIVATION_GELU_TANH},
                                               {"relu", SS1_ACTIVATION_RELU},
                                               {"silu", SS1_ACTIVATION_SILU},
                                               {"swish", SS1_ACTIVATION_SILU},
                                               {"tanh", SS1_ACTIVATION_TANH},
                                               {"sigmoid", SS1_ACTIVATION_SIGMOID},
                                               {"linear", SS1_ACTIVATION_NONE}}};
    std::string value = "gelu";
    SS1_TRY(json_string(config, label, name, key::optional, value));
    if (const auto known = std::ranges::find(rows, value, &row::name); known != rows.end()) {
        out = known->activation;
        return SS1_OK;
    }
    std::string supported;
    for (size_t i = 0; i < rows.size(); ++i)
        supported += (i == 0 ? "'" : i + 1 < rows.size() ? ", '" : " and '") + std::string(rows[i].name) + "'";
    return fail(SS1_ERROR_UNSUPPORTED, "%s: %s '%s' is not supported, %s are", label.c_str(), name,
                printable(value).c_str(), supported.c_str());
}

// Refuses variants of BERT that compute something else.
ss1_status refuse_variants(const json &config, const std::string &label) {
    std::string position = "absolute";
    SS1_TRY(json_string(config, label, "position_embedding_type", key::optional, position));
    SS1_CHECK(position == "absolute", SS1_ERROR_UNSUPPORTED,
              "%s: position_embedding_type '%s' is not supported, 'absolute' is", label.c_str(),
              printable(position).c_str());
    for (const char *name : {"is_decoder", "add_cross_attention", "is_encoder_decoder"}) {
        bool value = false;
        SS1_TRY(json_bool(config, label, name, key::optional, value));
        SS1_CHECK(!value, SS1_ERROR_UNSUPPORTED, "%s: %s true is not supported, the attention must see all tokens",
                  label.c_str(), name);
    }
    const json *pruned;
    SS1_TRY(json_member(config, label, "pruned_heads", key::optional, pruned));
    SS1_CHECK(!pruned || (pruned->size() == 0 && (pruned->is_array() || pruned->is_object())), SS1_ERROR_UNSUPPORTED,
              "%s: pruned_heads is not empty: layers with different numbers of heads are not supported", label.c_str());
    return SS1_OK;
}

// Reads the architecture, at most one; without one, BERT has pooler and classifier if their tensors exist.
ss1_status parse_head(const json &config, const family &f, const std::string &label, bert_config &out) {
    const json *list;
    SS1_TRY(json_member(config, label, "architectures", key::optional, list));
    SS1_CHECK(!list || (list->is_array() && list->size() <= 1), SS1_ERROR_FORMAT,
              "%s: architectures: must be an array of at most one name", label.c_str());
    if (!list || list->size() == 0) {
        out.head_optional = f.variant == bert_variant::bert;
        out.head = out.head_optional ? bert_head::sequence_classification : bert_head::none;
        return SS1_OK;
    }
    const json &value = (*list)[0];
    SS1_CHECK(value.is_string(), SS1_ERROR_FORMAT, "%s: architectures[0]: must be a string", label.c_str());
    const std::string_view name = value.string();
    std::string supported;
    for (const architecture &known : architectures) {
        if (known.name == "ForPreTraining" && f.variant != bert_variant::bert) continue;
        const std::string full = std::string(f.architecture) + std::string(known.name);
        if (full == name) {
            out.head = known.head;
            return SS1_OK;
        }
        supported += (supported.empty() ? "'" : ", '") + full + "'";
    }
    return fail(SS1_ERROR_UNSUPPORTED, "%s: architectures[0] '%s' is not supported, of model_type '%s' are %s",
                label.c_str(), printable(name).c_str(), std::string(f.model_type).c_str(), supported.c_str());
}

// Reads num_labels and the names of the labels by id.
ss1_status parse_labels(const json &config, const std::string &label, bert_config &bert) {
    const json *names;
    size_t &out = bert.num_labels;
    SS1_TRY(json_size(config, label, "num_labels", key::optional, 1, max_width, out));
    SS1_TRY(json_member(config, label, "id2label", key::optional, names));
    if (!names) return SS1_OK;
    SS1_CHECK(names->is_object() && names->size() > 0, SS1_ERROR_FORMAT,
              "%s: id2label: must be an object with at least one label", label.c_str());
    SS1_CHECK(!config.find("num_labels") || out == names->size(), SS1_ERROR_FORMAT,
              "%s: num_labels is %zu, id2label has %zu", label.c_str(), out, names->size());
    out = names->size();
    for (size_t i = 0; i < out; ++i) {
        const json *name;
        SS1_TRY(json_member(*names, label + ": id2label", std::to_string(i).c_str(), key::required, name));
        SS1_CHECK(name->is_string() || name->is_number(), SS1_ERROR_FORMAT,
                  "%s: id2label '%zu' is of type %s, must be a string", label.c_str(), i, name->type_name());
        bert.labels.push_back(name->is_string() ? std::string(name->string()) : name->text());
    }
    return SS1_OK;
}

ss1_status parse_sizes(const json &config, const family &f, const std::string &label, bert_config &out) {
    const auto size = [&](const char *name, size_t max, size_t &value) {
        return json_size(config, label, name, key::optional, 1, max, value);
    };
    out.vocab_size = f.vocab_size;
    out.num_hidden_layers = f.num_hidden_layers;
    SS1_TRY(size("vocab_size", max_width, out.vocab_size));
    SS1_TRY(size(f.hidden_size_key, max_width, out.hidden_size));
    SS1_TRY(size(f.layers_key, max_layers, out.num_hidden_layers));
    SS1_TRY(size(f.heads_key, max_width, out.num_attention_heads));
    SS1_TRY(size(f.intermediate_size_key, max_width, out.intermediate_size));
    SS1_TRY(size("max_position_embeddings", max_width, out.max_position_embeddings));
    SS1_CHECK(out.hidden_size % out.num_attention_heads == 0, SS1_ERROR_FORMAT,
              "%s: %s %zu is not a multiple of %s %zu", label.c_str(), f.hidden_size_key, out.hidden_size, f.heads_key,
              out.num_attention_heads);
    if (f.variant == bert_variant::distilbert) {  // config.json lacks its other constants
        out.type_vocab_size = 0;
        return SS1_OK;
    }
    SS1_TRY(size("type_vocab_size", max_width, out.type_vocab_size));
    SS1_TRY(json_number(config, label, "layer_norm_eps", key::optional, out.layer_norm_eps));
    SS1_CHECK(out.layer_norm_eps > 0 && out.layer_norm_eps < 1, SS1_ERROR_FORMAT,
              "%s: layer_norm_eps is %g, must be in (0, 1)", label.c_str(), out.layer_norm_eps);
    if (f.variant == bert_variant::bert) return SS1_OK;
    out.pad_token_id = f.pad_token_id;
    SS1_TRY(json_size(config, label, "pad_token_id", key::optional, 0, out.vocab_size - 1, out.pad_token_id));
    SS1_CHECK(out.max_position_embeddings > out.first_position(), SS1_ERROR_FORMAT,
              "%s: max_position_embeddings is %zu, must be above pad_token_id + 1 = %zu, where positions start",
              label.c_str(), out.max_position_embeddings, out.first_position());
    return SS1_OK;
}

void add_encoder(std::vector<linear_shape> &layers, const bert_config &bert) {
    const size_t H = bert.hidden_size, I = bert.intermediate_size;
    for (size_t i = 0; i < bert.num_hidden_layers; ++i) {
        const std::string prefix = "encoder.layer." + std::to_string(i) + ".";
        for (const char *name :
             {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
            layers.push_back({prefix + name, H, H, true, false});
        }
        layers.push_back({prefix + "intermediate.dense", H, I, true, false});
        layers.push_back({prefix + "output.dense", I, H, true, false});
    }
}

void add_head(std::vector<linear_shape> &layers, const bert_config &bert) {
    const size_t H = bert.hidden_size;
    const bool optional = bert.head_optional, classifies = bert.head == bert_head::sequence_classification;
    if (bert.has_pooler())
        layers.push_back({"pooler.dense", H, H, true, optional || !classifies || bert.has_pre_classifier(), true});
    if (bert.has_pre_classifier()) layers.push_back({"pre_classifier", H, H, true, false, true});
    switch (bert.head) {
        case bert_head::none:
            break;
        case bert_head::sequence_classification:
        case bert_head::token_classification:
            layers.push_back({"classifier", H, bert.num_labels, true, optional, classifies});
            break;
        case bert_head::masked_words:
            layers.push_back({"cls.predictions.transform.dense", H, H, true, false});
            layers.push_back({"cls.predictions.decoder", H, bert.vocab_size, true, false});
            break;
        case bert_head::question_answering:
            layers.push_back({"qa_outputs", H, 2, true, false});
            break;
    }
}

void add_norm(std::vector<tensor_spec> &tensors, const std::string &name, size_t width) {
    tensors.push_back({name + ".weight", {width}, "", false});
    tensors.push_back({name + ".bias", {width}, "", false});
}

}  // namespace

ss1_status bert_config_parse(const json &root, const std::string &model_type, const std::string &label,
                             bert_config &out, bool body_only) {
    const family &f = *std::ranges::find(families, model_type, &family::model_type);
    const json config = root.without_nulls();
    out = {};
    out.variant = f.variant;
    SS1_TRY(refuse_variants(config, label));
    SS1_TRY(parse_sizes(config, f, label, out));
    SS1_TRY(parse_activation(config, label, f.activation_key, out.hidden_act));
    SS1_TRY(json_bool(config, label, "tie_word_embeddings", key::optional, out.tie_word_embeddings));
    if (body_only) return SS1_OK;
    SS1_TRY(parse_head(config, f, label, out));
    // Every config.json of transformers may hold labels; most heads have none.
    if (!out.has_labels()) return SS1_OK;
    SS1_TRY(parse_labels(config, label, out));
    SS1_CHECK(out.head != bert_head::question_answering || out.num_labels == 2, SS1_ERROR_FORMAT,
              "%s: num_labels is %zu, must be 2 (start and end) for question answering", label.c_str(), out.num_labels);
    return SS1_OK;
}

void add_bert_layers(const bert_config &bert, std::vector<linear_shape> &layers) {
    add_encoder(layers, bert);
    add_head(layers, bert);
}

void add_bert_tensors(const bert_config &bert, std::vector<tensor_spec> &tensors) {
    const size_t H = bert.hidden_size;
    tensors.push_back({"embeddings.word_embeddings.weight", {bert.vocab_size, H}, "", false});
    tensors.push_back({"embeddings.position_embeddings.weight", {bert.max_position_embeddings, H}, "", false});
    if (bert.type_vocab_size)
        tensors.push_back({"embeddings.token_type_embeddings.weight", {bert.type_vocab_size, H}, "", false});
    add_norm(tensors, "embeddings.LayerNorm", H);
    for (size_t i = 0; i < bert.num_hidden_layers; ++i) {
        add_norm(tensors, "encoder.layer." + std::to_string(i) + ".attention.output.LayerNorm", H);
        add_norm(tensors, "encoder.layer." + std::to_string(i) + ".output.LayerNorm", H);
    }
    if (bert.head == bert_head::masked_words) add_norm(tensors, "cls.predictions.transform.LayerNorm", H);
}

}  // namespace ss1
