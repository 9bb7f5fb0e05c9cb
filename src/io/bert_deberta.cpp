// SPDX-License-Identifier: Apache-2.0
// The keys of DeBERTa (v2 and v3), and the rows of its table of distances.
#include <algorithm>
#include <cmath>

#include "base/status.hpp"
#include "io/bert_families.hpp"
#include "io/limits.hpp"

namespace ss1 {
namespace {

// Reads a number whose values below 1 mean that there is none, 0 here.
ss1_status parse_count(const json &config, const std::string &label, const char *name, size_t &out) {
    double value = -1;
    SS1_TRY(json_number(config, label, name, key::optional, value));
    SS1_CHECK(value == std::floor(value) && std::abs(value) <= static_cast<double>(max_width), SS1_ERROR_FORMAT,
              "%s: %s is %g, must be a whole number up to %zu", label.c_str(), name, value, size_t{max_width});
    out = value < 1 ? 0 : static_cast<size_t>(value);
    return SS1_OK;
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char &c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

// Splits at '|' and leaves out white space around the words, as transformers does.
std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    for (size_t begin = 0, end; begin <= text.size(); begin = end + 1) {
        end = std::min(text.find('|', begin), text.size());
        const std::string_view part = text.substr(begin, end - begin);
        const size_t first = std::min(part.find_first_not_of(" \t\n\r\f\v"), part.size());
        words.push_back(lower(part.substr(first, part.find_last_not_of(" \t\n\r\f\v") + 1 - first)));
    }
    return words;
}

// Reads pos_att_type, a list or its words in one string.
ss1_status parse_terms(const json &config, const std::string &label, relative_config &out) {
    const json *value;
    SS1_TRY(json_member(config, label, "pos_att_type", key::optional, value));
    std::vector<std::string> words;
    if (value && value->is_string()) {
        words = words_of(value->string());
    } else if (value) {
        SS1_CHECK(value->is_array(), SS1_ERROR_FORMAT, "%s: pos_att_type: is of type %s, must be a string or an array",
                  label.c_str(), value->type_name());
        for (size_t i = 0; i < value->size(); ++i) {
            SS1_CHECK((*value)[i].is_string(), SS1_ERROR_FORMAT, "%s: pos_att_type[%zu]: must be a string",
                      label.c_str(), i);
            words.emplace_back((*value)[i].string());
        }
    }
    for (const std::string &word : words) {
        SS1_CHECK(word == "c2p" || word == "p2c", SS1_ERROR_UNSUPPORTED,
                  "%s: pos_att_type '%s' is not supported, 'c2p' and 'p2c' are", label.c_str(),
                  printable(word).c_str());
        (word == "c2p" ? out.keys : out.queries) = true;
    }
    SS1_CHECK(out.keys || out.queries, SS1_ERROR_UNSUPPORTED, "%s: pos_att_type must name 'c2p', 'p2c' or both",
              label.c_str());
    return SS1_OK;
}

ss1_status parse_distances(const json &config, const std::string &label, bert_config &out) {
    relative_config &relative = out.relative;
    SS1_TRY(parse_count(config, label, "position_buckets", relative.buckets));
    SS1_TRY(parse_count(config, label, "max_relative_positions", relative.farthest));
    if (!relative.farthest) relative.farthest = out.max_position_embeddings;
    relative.span = relative.buckets ? relative.buckets : relative.farthest;
    // The scale goes from half of the buckets to the farthest distance but one; texts that end before need none.
    const size_t middle = relative.buckets / 2;
    SS1_CHECK(
        !relative.buckets || out.max_position_embeddings <= middle + 1 || (middle > 0 && relative.scale_end() > 1),
        SS1_ERROR_UNSUPPORTED,
        "%s: position_buckets %zu with distances up to %zu (max_relative_positions) are not supported: half of "
        "the buckets must be at least 1 and below %zu",
        label.c_str(), relative.buckets, relative.farthest, relative.farthest - 1);
    SS1_TRY(json_bool(config, label, "share_att_key", key::optional, relative.shares_layers));
    std::string norm = "none";
    SS1_TRY(json_string(config, label, "norm_rel_ebd", key::optional, norm));
    for (const std::string &word : words_of(norm)) {
        SS1_CHECK(word == "none" || word == "layer_norm", SS1_ERROR_UNSUPPORTED,
                  "%s: norm_rel_ebd '%s' is not supported, 'none' and 'layer_norm' are", label.c_str(),
                  printable(word).c_str());
        relative.has_norm |= word == "layer_norm";
    }
    return parse_terms(config, label, relative);
}

}  // namespace

ss1_status parse_deberta(const json &, const json &config, const std::string &label, bert_config &out) {
    bool relative = false, legacy = true;
    SS1_TRY(json_bool(config, label, "relative_attention", key::optional, relative));
    SS1_CHECK(relative, SS1_ERROR_UNSUPPORTED, "%s: relative_attention false is not supported, true is", label.c_str());
    const auto width = static_cast<double>(out.hidden_size);
    SS1_TRY(refuse_other(config, label, {"conv_kernel_size"}, 0));
    SS1_TRY(refuse_other(config, label, {"embedding_size", "pooler_hidden_size"}, width));
    SS1_TRY(refuse_other(config, label, {"attention_head_size"},
                         static_cast<double>(out.hidden_size / out.num_attention_heads)));
    SS1_TRY(json_bool(config, label, "position_biased_input", key::optional, out.has_positions));
    SS1_TRY(parse_bert_activation(config, label, "pooler_hidden_act", "gelu", out.classifier_act));
    SS1_TRY(json_bool(config, label, "legacy", key::optional, legacy));
    SS1_CHECK(legacy || out.tie_word_embeddings, SS1_ERROR_UNSUPPORTED,
              "%s: tie_word_embeddings false is not supported with legacy false", label.c_str());
    if (!legacy) out.variant = bert_variant::deberta_lm;
    out.blanks_masked = true;
    return parse_distances(config, label, out);
}

// transformers computes the logarithms in f32.
size_t relative_config::row_of(ptrdiff_t distance) const noexcept {
    const auto tokens = static_cast<size_t>(distance < 0 ? -distance : distance), middle = buckets / 2;
    size_t bucket = tokens;
    if (buckets && tokens > middle) {
        const auto half = static_cast<float>(middle);
        const float scale = std::log(scale_end());
        bucket = middle + static_cast<size_t>(std::ceil(std::log(static_cast<float>(tokens) / half) / scale *
                                                        static_cast<float>(middle - 1)));
    }
    // Keys after their query have the lower rows.
    return distance > 0 ? span - std::min(span, bucket) : std::min(span + bucket, rows() - 1);
}

}  // namespace ss1
