// SPDX-License-Identifier: Apache-2.0
#include "io/bert_config.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/status.hpp"
#include "io/bert_families.hpp"
#include "io/limits.hpp"

namespace ss1 {
namespace {

struct architecture {
    std::string_view name;  // after the family's prefix
    bert_head head;
};
constexpr std::array<architecture, 5> architectures{{{"Model", bert_head::none},
                                                     {"ForSequenceClassification", bert_head::sequence_classification},
                                                     {"ForTokenClassification", bert_head::token_classification},
                                                     {"ForMaskedLM", bert_head::masked_words},
                                                     {"ForQuestionAnswering", bert_head::question_answering}}};

}  // namespace

ss1_status parse_bert_activation(const json &config, const std::string &label, const char *name,
                                 std::string_view otherwise, ss1_activation &out) {
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
    std::string value(otherwise);
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

namespace {

// Refuses variants of BERT that compute something else.
ss1_status refuse_variants(const json &config, const std::string &label) {
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
ss1_status parse_head(const json &config, const bert_family &f, const std::string &label, bert_config &out) {
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
    std::vector<architecture> of_family(architectures.begin(), architectures.end());
    if (f.scores_words_alone) of_family = {architectures[0], architectures[3]};
    if (f.pretraining != bert_head::none) of_family.push_back({"ForPreTraining", f.pretraining});
    for (const architecture &known : of_family) {
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

// Reads ALBERT's groups and MPNet's buckets.
ss1_status parse_structure(const json &config, const bert_family &f, const std::string &label, bert_config &out) {
    const auto only = [&](const char *name, size_t one) {
        size_t value = one;
        SS1_TRY(json_size(config, label, name, key::optional, 1, max_width, value));
        SS1_CHECK(value == one, SS1_ERROR_UNSUPPORTED, "%s: %s %zu is not supported, %zu is", label.c_str(), name,
                  value, one);
        return SS1_OK;
    };
    if (f.bias == distance_bias::buckets) SS1_TRY(only("relative_attention_num_buckets", relative_buckets));
    if (!f.shares_layers) return SS1_OK;
    SS1_TRY(only("inner_group_num", 1));
    out.num_hidden_groups = 1;
    return json_size(config, label, "num_hidden_groups", key::optional, 1, out.num_hidden_layers,
                     out.num_hidden_groups);
}

ss1_status parse_sizes(const json &config, const bert_family &f, const std::string &label, bert_config &out) {
    const auto size = [&](const char *name, size_t max, size_t otherwise, size_t &value) {
        value = otherwise;
        return json_size(config, label, name, key::optional, 1, max, value);
    };
    SS1_TRY(size("vocab_size", max_width, f.sizes.vocab_size, out.vocab_size));
    SS1_TRY(size(f.keys.hidden_size, max_width, f.sizes.hidden_size, out.hidden_size));
    SS1_TRY(size(f.keys.layers, max_layers, f.sizes.layers, out.num_hidden_layers));
    SS1_TRY(size(f.keys.heads, max_width, f.sizes.heads, out.num_attention_heads));
    SS1_TRY(size(f.keys.intermediate_size, max_width, f.sizes.intermediate_size, out.intermediate_size));
    SS1_TRY(size(f.keys.positions, max_width, f.sizes.positions, out.max_position_embeddings));
    SS1_CHECK(out.hidden_size % out.num_attention_heads == 0, SS1_ERROR_FORMAT,
              "%s: %s %zu is not a multiple of %s %zu", label.c_str(), f.keys.hidden_size, out.hidden_size,
              f.keys.heads, out.num_attention_heads);
    out.embedding_size = out.hidden_size;
    if (f.sizes.embedding_size) SS1_TRY(size("embedding_size", max_width, f.sizes.embedding_size, out.embedding_size));
    // ALBERT has the layer for equal sizes, too.
    out.projects_embeddings = f.shares_layers || out.embedding_size != out.hidden_size;
    SS1_TRY(parse_structure(config, f, label, out));
    out.type_vocab_size = 0;
    if (f.has_types) {
        out.type_vocab_size = f.sizes.types;
        SS1_TRY(json_size(config, label, "type_vocab_size", key::optional, f.sizes.least_types, max_width,
                          out.type_vocab_size));
    }
    out.layer_norm_eps = f.eps;
    if (f.has_eps) SS1_TRY(json_number(config, label, f.keys.eps, key::optional, out.layer_norm_eps));
    SS1_CHECK(out.layer_norm_eps > 0 && out.layer_norm_eps < 1, SS1_ERROR_FORMAT, "%s: %s is %g, must be in (0, 1)",
              label.c_str(), f.keys.eps, out.layer_norm_eps);
    if (!f.counts_positions) return SS1_OK;
    out.pad_token_id = f.sizes.pad_token_id;
    if (f.variant == bert_variant::roberta)  // MPNet's is fixed
        SS1_TRY(json_size(config, label, "pad_token_id", key::optional, 0, out.vocab_size - 1, out.pad_token_id));
    SS1_CHECK(out.max_position_embeddings > out.first_position(), SS1_ERROR_FORMAT,
              "%s: max_position_embeddings is %zu, must be above pad_token_id + 1 = %zu, where positions start",
              label.c_str(), out.max_position_embeddings, out.first_position());
    return SS1_OK;
}

void add_encoder(std::vector<linear_shape> &layers, const bert_config &bert) {
    const size_t H = bert.hidden_size, I = bert.intermediate_size;
    for (size_t i = 0; i < bert.stored_layers(); ++i) {
        const std::string prefix = "encoder.layer." + std::to_string(i) + ".";
        const auto add = [&](const char *name, size_t K, size_t N, bool has_bias) {
            layers.push_back({prefix + name, K, N, has_bias, false});
        };
        if (bert.packs_qkv) {
            add("attention.self.qkv", H, 3 * H, bert.qkv_bias);
        } else {
            for (const char *name : {"attention.self.query", "attention.self.key", "attention.self.value"})
                add(name, H, H, bert.qkv_bias);
        }
        add("attention.output.dense", H, H, bert.attention_bias);
        if (bert.splits_gate) {
            for (const char *name : {"intermediate.up", "intermediate.gate"}) add(name, H, I, bert.intermediate_bias);
        } else {
            add("intermediate.dense", H, bert.gate == gating::none ? I : 2 * I, bert.intermediate_bias);
        }
        add("output.dense", I, H, bert.output_bias);
    }
}

void add_head(std::vector<linear_shape> &layers, const bert_config &bert) {
    const size_t H = bert.hidden_size, E = bert.embedding_size;
    const bool optional = bert.head_optional, classifies = bert.head == bert_head::sequence_classification;
    if (bert.has_pooler)
        layers.push_back({"pooler.dense", H, H, true, optional || !classifies || bert.has_pre_classifier(), true});
    if (bert.has_pre_classifier()) layers.push_back({"pre_classifier", H, H, true, false, true});
    if (bert.has_transform())
        layers.push_back({"cls.predictions.transform.dense", H, E, bert.transform_bias, false, classifies});
    switch (bert.head) {
        case bert_head::none:
            break;
        case bert_head::sequence_classification:
        case bert_head::token_classification:
            layers.push_back({"classifier", H, bert.num_labels, true, optional, classifies});
            break;
        case bert_head::masked_words:
            layers.push_back({"cls.predictions.decoder", E, bert.vocab_size, bert.decoder_bias, false});
            break;
        case bert_head::question_answering:
            layers.push_back({bert.transforms_all ? "classifier" : "qa_outputs", H, 2, true, false});
            break;
        case bert_head::replaced_tokens:
            layers.push_back({"discriminator_predictions.dense", H, H, true, false});
            layers.push_back({"discriminator_predictions.dense_prediction", H, 1, true, false});
            break;
    }
}

void add_norm(std::vector<tensor_spec> &tensors, const bert_config &bert, const std::string &name, size_t width) {
    tensors.push_back({name + ".weight", {width}, "", false});
    if (bert.norm_bias) tensors.push_back({name + ".bias", {width}, "", false});
}

// The table of distances, and the layers of its rows that are no layers of the tokens.
void add_relative_tensors(const bert_config &bert, std::vector<tensor_spec> &tensors) {
    const relative_config &relative = bert.relative;
    if (!relative.span) return;
    tensors.push_back({"encoder.rel_embeddings.weight", {relative.rows(), bert.hidden_size}, "", false});
    for (size_t i = 0; i < bert.num_hidden_layers && !relative.shares_layers; ++i)
        for (const bool of_keys : {true, false}) {
            if (of_keys ? !relative.keys : !relative.queries) continue;
            const linear_shape layer = relative_layer(bert, i, of_keys);
            tensors.push_back({layer.name + ".weight", {layer.N, layer.K}, "", false});
            tensors.push_back({layer.name + ".bias", {layer.N}, "", false});
        }
}

}  // namespace

ss1_status bert_config_parse(const json &root, const std::string &model_type, const std::string &label,
                             bert_config &out, bool body_only) {
    const json config = root.without_nulls();
    const bert_family *found;
    SS1_TRY(find_bert_family(config, model_type, label, found));
    const bert_family &f = *found;
    out = {};
    out.variant = f.variant;
    out.has_pooler = f.has_pooler;
    out.counts_positions = f.counts_positions;
    out.bias = f.bias;
    out.has_dense_classifier = f.has_dense_classifier;
    out.classifier_act = f.classifier_act;
    SS1_TRY(refuse_variants(config, label));
    SS1_TRY(parse_sizes(config, f, label, out));
    if (f.keys.activation)
        SS1_TRY(parse_bert_activation(config, label, f.keys.activation, f.activation, out.hidden_act));
    out.words_act = f.words_use_gelu ? SS1_ACTIVATION_GELU : out.hidden_act;
    SS1_TRY(json_bool(config, label, "tie_word_embeddings", key::optional, out.tie_word_embeddings));
    if (f.parse) SS1_TRY(f.parse(root, config, label, out));
    if (body_only) return SS1_OK;
    SS1_TRY(parse_head(config, f, label, out));
    // Every config.json of transformers may hold labels; most heads have none.
    if (!out.has_labels()) return SS1_OK;
    SS1_TRY(parse_labels(config, label, out));
    SS1_CHECK(out.head != bert_head::question_answering || out.num_labels == 2, SS1_ERROR_FORMAT,
              "%s: num_labels is %zu, must be 2 (start and end) for question answering", label.c_str(), out.num_labels);
    return SS1_OK;
}

std::array<std::string, 2> bert_config::norms(size_t i) const {
    const std::string prefix = "encoder.layer." + std::to_string(i);
    if (!norms_first) return {prefix + ".attention.output.LayerNorm", prefix + ".output.LayerNorm"};
    return {i == 0 ? "" : prefix + ".attention.LayerNorm", prefix + ".intermediate.LayerNorm"};
}

linear_shape relative_layer(const bert_config &bert, size_t encoder, bool of_keys) {
    const std::string prefix = "encoder.layer." + std::to_string(encoder) + ".attention.self.";
    const char *what = of_keys ? "key" : "query";
    return {prefix + (bert.relative.shares_layers ? "" : "pos_") + what, bert.hidden_size, bert.hidden_size, true,
            false};
}

void add_bert_layers(const bert_config &bert, std::vector<linear_shape> &layers) {
    add_encoder(layers, bert);
    if (bert.projects_embeddings)
        layers.push_back({"embeddings_project", bert.embedding_size, bert.hidden_size, true, false});
    add_head(layers, bert);
}

void add_bert_tensors(const bert_config &bert, std::vector<tensor_spec> &tensors) {
    const size_t H = bert.hidden_size, E = bert.embedding_size;
    tensors.push_back({"embeddings.word_embeddings.weight", {bert.vocab_size, E}, "", false});
    if (bert.has_positions)
        tensors.push_back({"embeddings.position_embeddings.weight", {bert.max_position_embeddings, E}, "", false});
    if (bert.type_vocab_size)
        tensors.push_back({"embeddings.token_type_embeddings.weight", {bert.type_vocab_size, E}, "", false});
    add_norm(tensors, bert, "embeddings.LayerNorm", E);
    if (bert.bias == distance_bias::buckets)
        tensors.push_back(
            {"encoder.relative_attention_bias.weight", {relative_buckets, bert.num_attention_heads}, "", false});
    for (size_t i = 0; i < bert.stored_layers(); ++i)
        for (const std::string &name : bert.norms(i))
            if (!name.empty()) add_norm(tensors, bert, name, H);
    if (bert.norms_first || bert.relative.has_norm) add_norm(tensors, bert, "encoder.LayerNorm", H);
    add_relative_tensors(bert, tensors);
    if (bert.has_transform()) add_norm(tensors, bert, "cls.predictions.transform.LayerNorm", E);
}

}  // namespace ss1
