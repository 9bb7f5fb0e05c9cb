// SPDX-License-Identifier: Apache-2.0
#include "io/bert_names.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace ss1 {
namespace {

// Prefixes of names; '#' stands for the number of a layer.
struct name_pair {
    std::string_view stored, canonical;
};

constexpr std::array<name_pair, 11> distilbert_names{
    {{"transformer.layer.#.attention.q_lin.", "encoder.layer.#.attention.self.query."},
     {"transformer.layer.#.attention.k_lin.", "encoder.layer.#.attention.self.key."},
     {"transformer.layer.#.attention.v_lin.", "encoder.layer.#.attention.self.value."},
     {"transformer.layer.#.attention.out_lin.", "encoder.layer.#.attention.output.dense."},
     {"transformer.layer.#.sa_layer_norm.", "encoder.layer.#.attention.output.LayerNorm."},
     {"transformer.layer.#.ffn.lin1.", "encoder.layer.#.intermediate.dense."},
     {"transformer.layer.#.ffn.lin2.", "encoder.layer.#.output.dense."},
     {"transformer.layer.#.output_layer_norm.", "encoder.layer.#.output.LayerNorm."},
     {"vocab_transform.", "cls.predictions.transform.dense."},
     {"vocab_layer_norm.", "cls.predictions.transform.LayerNorm."},
     {"vocab_projector.", "cls.predictions.decoder."}}};

constexpr std::array<name_pair, 4> roberta_names{{{"lm_head.dense.", "cls.predictions.transform.dense."},
                                                  {"lm_head.layer_norm.", "cls.predictions.transform.LayerNorm."},
                                                  {"lm_head.decoder.", "cls.predictions.decoder."},
                                                  {"lm_head.bias", "cls.predictions.bias"}}};

constexpr std::array<name_pair, 3> electra_names{
    {{"generator_predictions.dense.", "cls.predictions.transform.dense."},
     {"generator_predictions.LayerNorm.", "cls.predictions.transform.LayerNorm."},
     {"generator_lm_head.", "cls.predictions.decoder."}}};

constexpr std::array<name_pair, 9> mpnet_names{
    {{"encoder.layer.#.attention.attn.q.", "encoder.layer.#.attention.self.query."},
     {"encoder.layer.#.attention.attn.k.", "encoder.layer.#.attention.self.key."},
     {"encoder.layer.#.attention.attn.v.", "encoder.layer.#.attention.self.value."},
     {"encoder.layer.#.attention.attn.o.", "encoder.layer.#.attention.output.dense."},
     {"encoder.layer.#.attention.LayerNorm.", "encoder.layer.#.attention.output.LayerNorm."},
     {"lm_head.dense.", "cls.predictions.transform.dense."},
     {"lm_head.layer_norm.", "cls.predictions.transform.LayerNorm."},
     {"lm_head.decoder.", "cls.predictions.decoder."},
     {"lm_head.bias", "cls.predictions.bias"}}};

constexpr std::array<name_pair, 14> albert_names{
    {{"encoder.albert_layer_groups.#.albert_layers.0.attention.query.", "encoder.layer.#.attention.self.query."},
     {"encoder.albert_layer_groups.#.albert_layers.0.attention.key.", "encoder.layer.#.attention.self.key."},
     {"encoder.albert_layer_groups.#.albert_layers.0.attention.value.", "encoder.layer.#.attention.self.value."},
     {"encoder.albert_layer_groups.#.albert_layers.0.attention.dense.", "encoder.layer.#.attention.output.dense."},
     {"encoder.albert_layer_groups.#.albert_layers.0.attention.LayerNorm.",
      "encoder.layer.#.attention.output.LayerNorm."},
     {"encoder.albert_layer_groups.#.albert_layers.0.ffn.", "encoder.layer.#.intermediate.dense."},
     {"encoder.albert_layer_groups.#.albert_layers.0.ffn_output.", "encoder.layer.#.output.dense."},
     {"encoder.albert_layer_groups.#.albert_layers.0.full_layer_layer_norm.", "encoder.layer.#.output.LayerNorm."},
     {"encoder.embedding_hidden_mapping_in.", "embeddings_project."},
     {"pooler.", "pooler.dense."},
     {"predictions.dense.", "cls.predictions.transform.dense."},
     {"predictions.LayerNorm.", "cls.predictions.transform.LayerNorm."},
     {"predictions.decoder.", "cls.predictions.decoder."},
     {"predictions.bias", "cls.predictions.bias"}}};

constexpr std::array<name_pair, 3> jina_names{
    {{"encoder.layer.#.mlp.gated_layers.", "encoder.layer.#.intermediate.dense."},
     {"encoder.layer.#.mlp.wo.", "encoder.layer.#.output.dense."},
     {"encoder.layer.#.mlp.layernorm.", "encoder.layer.#.output.LayerNorm."}}};

constexpr std::array<name_pair, 12> modernbert_names{{{"embeddings.tok_embeddings.", "embeddings.word_embeddings."},
                                                      {"embeddings.norm.", "embeddings.LayerNorm."},
                                                      {"layers.#.attn_norm.", "encoder.layer.#.attention.LayerNorm."},
                                                      {"layers.#.attn.Wqkv.", "encoder.layer.#.attention.self.qkv."},
                                                      {"layers.#.attn.Wo.", "encoder.layer.#.attention.output.dense."},
                                                      {"layers.#.mlp_norm.", "encoder.layer.#.intermediate.LayerNorm."},
                                                      {"layers.#.mlp.Wi.", "encoder.layer.#.intermediate.dense."},
                                                      {"layers.#.mlp.Wo.", "encoder.layer.#.output.dense."},
                                                      {"final_norm.", "encoder.LayerNorm."},
                                                      {"head.dense.", "cls.predictions.transform.dense."},
                                                      {"head.norm.", "cls.predictions.transform.LayerNorm."},
                                                      {"decoder.", "cls.predictions.decoder."}}};

constexpr std::array<name_pair, 9> nomic_names{
    {{"emb_ln.", "embeddings.LayerNorm."},
     {"encoder.layers.#.attn.Wqkv.", "encoder.layer.#.attention.self.qkv."},
     {"encoder.layers.#.attn.out_proj.", "encoder.layer.#.attention.output.dense."},
     {"encoder.layers.#.norm1.", "encoder.layer.#.attention.output.LayerNorm."},
     {"encoder.layers.#.mlp.fc11.", "encoder.layer.#.intermediate.up."},
     {"encoder.layers.#.mlp.fc12.", "encoder.layer.#.intermediate.gate."},
     {"encoder.layers.#.mlp.fc2.", "encoder.layer.#.output.dense."},
     {"encoder.layers.#.norm2.", "encoder.layer.#.output.LayerNorm."},
     {"cls.predictions.transform.layer_norm.", "cls.predictions.transform.LayerNorm."}}};

constexpr std::array<name_pair, 12> gte_names{
    {{"encoder.layer.#.attention.qkv_proj.", "encoder.layer.#.attention.self.qkv."},
     {"encoder.layer.#.attention.q_proj.", "encoder.layer.#.attention.self.query."},
     {"encoder.layer.#.attention.k_proj.", "encoder.layer.#.attention.self.key."},
     {"encoder.layer.#.attention.v_proj.", "encoder.layer.#.attention.self.value."},
     {"encoder.layer.#.attention.o_proj.", "encoder.layer.#.attention.output.dense."},
     {"encoder.layer.#.attn_ln.", "encoder.layer.#.attention.output.LayerNorm."},
     {"encoder.layer.#.mlp.up_gate_proj.", "encoder.layer.#.intermediate.dense."},
     {"encoder.layer.#.mlp.down_proj.", "encoder.layer.#.output.dense."},
     {"encoder.layer.#.mlp_ln.", "encoder.layer.#.output.LayerNorm."},
     {"lm_head.dense.", "cls.predictions.transform.dense."},
     {"lm_head.norm.", "cls.predictions.transform.LayerNorm."},
     {"lm_head.decoder.", "cls.predictions.decoder."}}};

constexpr std::array<name_pair, 6> deberta_names{
    {{"encoder.layer.#.attention.self.query_proj.", "encoder.layer.#.attention.self.query."},
     {"encoder.layer.#.attention.self.key_proj.", "encoder.layer.#.attention.self.key."},
     {"encoder.layer.#.attention.self.value_proj.", "encoder.layer.#.attention.self.value."},
     {"encoder.layer.#.attention.self.pos_query_proj.", "encoder.layer.#.attention.self.pos_query."},
     {"encoder.layer.#.attention.self.pos_key_proj.", "encoder.layer.#.attention.self.pos_key."},
     {"pooler.dense.", "pre_classifier."}}};

constexpr auto deberta_lm_names = [] {
    std::array<name_pair, 9> names{};
    std::ranges::copy(deberta_names, names.begin());
    names[6] = {"lm_predictions.lm_head.dense.", "cls.predictions.transform.dense."};
    names[7] = {"lm_predictions.lm_head.LayerNorm.", "cls.predictions.transform.LayerNorm."};
    names[8] = {"lm_predictions.lm_head.", "cls.predictions.decoder."};
    return names;
}();

// Two layers classify sequences; the classifier of tokens is a single layer with BERT's name.
constexpr std::array<name_pair, 2> dense_classifier_names{
    {{"classifier.dense.", "pre_classifier."}, {"classifier.out_proj.", "classifier."}}};

struct variant_names {
    bert_variant variant;
    std::string_view prefix;  // of the base's tensors in a model with a head
    std::span<const name_pair> names;
    bool has_dense_classifier_names;
};
constexpr std::array<variant_names, 13> variants{{{bert_variant::bert, "bert.", {}, false},
                                                  {bert_variant::distilbert, "distilbert.", distilbert_names, false},
                                                  {bert_variant::roberta, "roberta.", roberta_names, true},
                                                  {bert_variant::electra, "electra.", electra_names, true},
                                                  {bert_variant::mpnet, "mpnet.", mpnet_names, true},
                                                  {bert_variant::albert, "albert.", albert_names, false},
                                                  {bert_variant::jina, "bert.", jina_names, false},
                                                  {bert_variant::modernbert, "model.", modernbert_names, false},
                                                  {bert_variant::nomic, "bert.", nomic_names, false},
                                                  {bert_variant::nomic_hf, "nomic_bert.", nomic_names, false},
                                                  {bert_variant::gte, "new.", gte_names, false},
                                                  {bert_variant::deberta, "deberta.", deberta_names, false},
                                                  {bert_variant::deberta_lm, "deberta.", deberta_lm_names, false}}};

const variant_names &names_of(const bert_config &config) noexcept {
    return *std::ranges::find(variants, config.variant, &variant_names::variant);
}

// Replaces the prefix `from` of a name by `to`; keeps the number that '#' stands for.
bool replace_beginning(std::string &name, std::string_view from, std::string_view to) {
    const size_t mark = from.find('#');
    if (mark == from.npos) {
        if (!name.starts_with(from)) return false;
        name.replace(0, from.size(), to);
        return true;
    }
    if (!name.starts_with(from.substr(0, mark))) return false;
    const size_t end = std::min(name.find_first_not_of("0123456789", mark), name.size());
    const std::string_view rest = from.substr(mark + 1);
    if (end == mark || name.compare(end, rest.size(), rest) != 0) return false;
    const std::string number = name.substr(mark, end - mark);
    std::string replaced(to);
    replaced.replace(replaced.find('#'), 1, number);
    name.replace(0, end + rest.size(), replaced);
    return true;
}

bool replace_end(std::string &name, std::string_view from, std::string_view to) {
    if (!name.ends_with(from)) return false;
    name.replace(name.size() - from.size(), from.size(), to);
    return true;
}

// Applies the first matching pair in the direction from -> to.
void rename(std::string &name, const bert_config &config, std::string_view name_pair::*from,
            std::string_view name_pair::*to) {
    const auto replace = [&](std::span<const name_pair> pairs) {
        return std::ranges::any_of(
            pairs, [&](const name_pair &pair) { return replace_beginning(name, pair.*from, pair.*to); });
    };
    const variant_names &variant = names_of(config);
    if (variant.has_dense_classifier_names && config.has_pre_classifier() && replace(dense_classifier_names)) return;
    replace(variant.names);
}

}  // namespace

std::string canonical_bert_name(const bert_config &config, std::string_view stored) {
    const std::string_view prefix = names_of(config).prefix;
    if (stored.starts_with(prefix)) stored.remove_prefix(prefix.size());
    std::string name(stored);
    // Old checkpoints have TensorFlow's names.
    if (!replace_end(name, ".LayerNorm.gamma", ".LayerNorm.weight"))
        replace_end(name, ".LayerNorm.beta", ".LayerNorm.bias");
    rename(name, config, &name_pair::stored, &name_pair::canonical);
    return name;
}

std::string stored_bert_name(const bert_config &config, std::string_view canonical) {
    std::string name(canonical);
    const bool of_base = name.starts_with("embeddings") || name.starts_with("encoder.") || name.starts_with("pooler.");
    rename(name, config, &name_pair::canonical, &name_pair::stored);
    const bool with_head = config.head != bert_head::none && !config.head_optional;
    return of_base && with_head ? std::string(names_of(config).prefix) + name : name;
}

}  // namespace ss1
