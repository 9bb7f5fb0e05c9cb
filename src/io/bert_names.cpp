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

// RoBERTa's classifier of tokens is a single layer with BERT's name.
constexpr std::array<name_pair, 2> roberta_classifier_names{
    {{"classifier.dense.", "pre_classifier."}, {"classifier.out_proj.", "classifier."}}};

std::span<const name_pair> names_of(bert_variant variant) noexcept {
    switch (variant) {
        case bert_variant::bert:
            return {};
        case bert_variant::distilbert:
            return distilbert_names;
        case bert_variant::roberta:
            return roberta_names;
    }
    return {};
}

std::string_view prefix_of(bert_variant variant) noexcept {
    switch (variant) {
        case bert_variant::bert:
            return "bert.";
        case bert_variant::distilbert:
            return "distilbert.";
        case bert_variant::roberta:
            return "roberta.";
    }
    return "";
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
    if (config.variant == bert_variant::roberta && config.has_pre_classifier() && replace(roberta_classifier_names))
        return;
    replace(names_of(config.variant));
}

}  // namespace

std::string canonical_bert_name(const bert_config &config, std::string_view stored) {
    const std::string_view prefix = prefix_of(config.variant);
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
    const bool of_base = name.starts_with("embeddings.") || name.starts_with("encoder.") || name.starts_with("pooler.");
    rename(name, config, &name_pair::canonical, &name_pair::stored);
    const bool with_head = config.head != bert_head::none && !config.head_optional;
    return of_base && with_head ? std::string(prefix_of(config.variant)) + name : name;
}

}  // namespace ss1
