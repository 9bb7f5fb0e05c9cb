// SPDX-License-Identifier: Apache-2.0
#include "io/model_config.hpp"

#include <algorithm>
#include <array>

#include "base/status.hpp"
#include "io/families.hpp"
#include "io/limits.hpp"
#include "mapping/mapping.hpp"

namespace ss1 {
namespace {

constexpr std::array<std::pair<std::string_view, ss1_dtype>, 3> weight_dtypes{
    {{"f32", SS1_DTYPE_F32}, {"bf16", SS1_DTYPE_BF16}, {"int8", SS1_DTYPE_I8}}};

ss1_status parse_dtype(const json &entry, const std::string &where, ss1_dtype &out) {
    std::string name = "f32";
    SS1_TRY(json_string(entry, where, "dtype", key::optional, name));
    for (const auto &[known, dtype] : weight_dtypes) {
        if (known == name) {
            out = dtype;
            return SS1_OK;
        }
    }
    return fail(SS1_ERROR_UNSUPPORTED, "%s: dtype '%s' is not supported, 'f32', 'bf16' and 'int8' are", where.c_str(),
                printable(name).c_str());
}

// Every field of the mapping is required, so that a file keeps its meaning when defaults change.
ss1_status parse_mapping(const json &entry, const std::string &where, ss1_linear_desc &desc) {
    SS1_TRY(
        json_only_keys(entry, where, {"kind", "dtype", "c", "scheme", "seed", "block_k", "block_n", "step", "rank"}));
    size_t c, seed, block_k, block_n, step;
    std::string scheme;
    SS1_TRY(json_size(entry, where, "c", key::required, 1, max_width, c));
    SS1_TRY(json_string(entry, where, "scheme", key::required, scheme));
    SS1_TRY(json_size(entry, where, "seed", key::required, 0, UINT32_MAX, seed));
    SS1_TRY(json_size(entry, where, "block_k", key::required, 1, max_width, block_k));
    SS1_TRY(json_size(entry, where, "block_n", key::required, 1, max_width, block_n));
    SS1_TRY(json_size(entry, where, "step", key::required, 1, max_width, step));
    SS1_CHECK(scheme == "mixed" || scheme == "reference", SS1_ERROR_UNSUPPORTED,
              "%s: scheme '%s' is not supported, 'mixed' and 'reference' are", where.c_str(),
              printable(scheme).c_str());
    desc.scheme = scheme == "mixed" ? SS1_SCHEME_MIXED : SS1_SCHEME_REFERENCE;
    desc.c = static_cast<uint32_t>(c);
    desc.seed = static_cast<uint32_t>(seed);
    desc.block_k = static_cast<uint32_t>(block_k);
    desc.block_n = static_cast<uint32_t>(block_n);
    desc.step = static_cast<uint32_t>(step);
    return SS1_OK;
}

ss1_status parse_layer(const json &entry, const std::string &where, layer_config &out) {
    std::string kind;
    SS1_TRY(json_is_object(entry, where));
    SS1_TRY(json_string(entry, where, "kind", key::required, kind));
    SS1_CHECK(kind == "ss1" || kind == "dense" || kind == "low_rank", SS1_ERROR_UNSUPPORTED,
              "%s: kind '%s' is not supported, 'ss1', 'dense' and 'low_rank' are", where.c_str(),
              printable(kind).c_str());
    out.tied = kind == "ss1";
    out.desc.c = kind == "dense";  // ss1 gives its own
    SS1_TRY(out.tied ? parse_mapping(entry, where, out.desc) : json_only_keys(entry, where, {"kind", "dtype", "rank"}));
    const key need = kind == "low_rank" ? key::required : key::optional;
    SS1_TRY(json_size(entry, where, "rank", need, 1, max_width, out.desc.rank));
    SS1_TRY(parse_dtype(entry, where, out.desc.weight_dtype));
    return resolve_for(where, SS1_ERROR_FORMAT, out.desc);
}

ss1_status parse_layers(const json &config, const std::string &label, model_config &out) {
    const json *ss1, *layers;
    SS1_TRY(json_member(config, label, "ss1", key::optional, ss1));
    if (!ss1) return SS1_OK;
    SS1_TRY(json_is_object(*ss1, label + ": ss1"));
    SS1_TRY(json_only_keys(*ss1, label + ": ss1", {"layers"}));
    SS1_TRY(json_member(*ss1, label + ": ss1", "layers", key::required, layers));
    SS1_TRY(json_is_object(*layers, label + ": ss1.layers"));
    std::map<std::string, linear_shape> known;
    for (linear_shape &shape : linear_layers(out)) known.emplace(shape.name, shape);
    for (const json &entry : *layers) {
        const std::string name(entry.key());
        const std::string where = label + ": ss1.layers '" + printable(name) + "'";
        const auto shape = known.find(name);
        SS1_CHECK(shape != known.end(), SS1_ERROR_FORMAT, "%s: is not a linear layer of this model", where.c_str());
        layer_config layer = {false, SS1_LINEAR_DESC_INIT};
        layer.desc.K = shape->second.K;
        layer.desc.N = shape->second.N;
        SS1_TRY(parse_layer(entry, where, layer));
        out.layers.emplace(name, layer);
    }
    return SS1_OK;
}

// Reads the activation of scores by the rule of sentence-transformers' CrossEncoder: the newest place counts.
ss1_status parse_score_activation(const json &root, const std::string &label, model_config &out) {
    out.score_activation = out.sentence.score_activation;
    const auto take = [&](const json &object, const std::string &where, const char *name) {
        const json *value;
        SS1_TRY(json_member(object, where, name, key::optional, value));
        if (!out.score_activation.empty() || !value || value->is_null()) return SS1_OK;
        return json_string(object, where, name, key::optional, out.score_activation);
    };
    const json *settings;
    SS1_TRY(json_member(root, label, "sentence_transformers", key::optional, settings));
    if (settings && settings->is_object()) SS1_TRY(take(*settings, label + ": sentence_transformers", "activation_fn"));
    return take(root, label, "sbert_ce_default_activation_function");
}

void write_layers(json_writer &out, const layer_configs &layers) {
    out.key("ss1").begin('{');
    out.key("layers").begin('{');
    for (const auto &[name, layer] : layers) write_layer_entry(out.key(name), layer);
    out.end('}');
    out.end('}');
}

void write_tables(json_writer &out, const json &tables, const char *dtype) {
    out.begin('[');
    for (const json &table : tables) {
        out.begin('{');
        out.key("dtype").string(dtype);
        for (const json &member : table)
            if (member.key() != "dtype") out.key(member.key()).copy(member);
        out.end('}');
    }
    out.end(']');
}

const family_files *find_family(std::string_view type) noexcept {
    for (const family_files *family : known_families())
        if (std::ranges::find(family->types, type) != family->types.end()) return family;
    return nullptr;
}

// Every model_type in words: "'a', 'b' and 'c'".
std::string known_types() {
    std::vector<std::string_view> types;
    for (const family_files *family : known_families())
        types.insert(types.end(), family->types.begin(), family->types.end());
    std::string words;
    for (size_t i = 0; i < types.size(); ++i) {
        words.append(i == 0 ? "'" : i + 1 < types.size() ? ", '" : " and '");
        words.append(types[i]).append("'");
    }
    return words;
}

}  // namespace

bool model_config::is_tied(const std::string &layer) const noexcept {
    const auto found = layers.find(layer);
    return found != layers.end() && found->second.tied;
}

bool model_config::has_weight(const std::string &layer) const noexcept {
    const auto found = layers.find(layer);
    return found == layers.end() || (!found->second.tied && found->second.desc.c == 1);
}

size_t model_config::rank(const std::string &layer) const noexcept {
    const auto found = layers.find(layer);
    return found == layers.end() ? 0 : found->second.desc.rank;
}

ss1_status model_config_parse(std::string_view text, const char *label, model_config &out, sentence_config sentence) {
    model_config config;
    config.sentence = std::move(sentence);
    config.text = text;
    json_document document;
    SS1_TRY(json_parse(text, label, {}, document));
    const json &root = document.root();
    std::string type;
    SS1_TRY(json_is_object(root, label));
    SS1_TRY(json_string(root, label, "model_type", key::required, type));
    config.family = find_family(type);
    SS1_CHECK(config.family, SS1_ERROR_UNSUPPORTED, "%s: model_type '%s' is not supported, %s are", label,
              printable(type).c_str(), known_types().c_str());
    SS1_TRY(config.family->parse(root, type, label, config));
    SS1_CHECK(!config.sentence.pools() || config.family->has_hidden_states, SS1_ERROR_UNSUPPORTED,
              "%s: modules.json pools hidden states, which a model_type '%s' does not have", label,
              printable(type).c_str());
    SS1_TRY(parse_score_activation(root, label, config));
    SS1_TRY(parse_layers(root, label, config));
    out = std::move(config);
    return SS1_OK;
}

std::vector<linear_shape> linear_layers(const model_config &config) {
    std::vector<linear_shape> layers;
    config.family->add_layers(config, layers);
    return layers;
}

std::vector<tensor_spec> model_tensors(const model_config &config) {
    std::vector<tensor_spec> tensors;
    config.family->add_tensors(config, tensors);
    add_sentence_tensors(config.sentence, tensors);
    for (const linear_shape &layer : linear_layers(config)) {
        const bool optional = layer.optional && config.is_plain(layer.name);
        const auto entry = config.layers.find(layer.name);
        const size_t stored = entry == config.layers.end() ? layer.K : mapping(entry->second.desc).stored_columns;
        const char *weight = config.is_tied(layer.name) ? ".ss1_weight" : ".weight";
        if (stored) tensors.push_back({layer.name + weight, {layer.N, stored}, layer.name, optional});
        if (const size_t rank = config.rank(layer.name)) {
            tensors.push_back({layer.name + ".low_rank_up", {layer.N, rank}, layer.name, false});
            tensors.push_back({layer.name + ".low_rank_down", {rank, layer.K}, layer.name, false});
        }
        if (layer.has_bias) tensors.push_back({layer.name + ".bias", {layer.N}, layer.name, optional});
    }
    return tensors;
}

ss1_status resolve_for(const std::string &where, ss1_status broken, ss1_linear_desc &desc) {
    ss1_status status;
    {
        const api_scope unnamed(nullptr);  // our message, which contains this one, names the API function
        status = linear_resolve(desc, nullptr);
    }
    SS1_CHECK(status == SS1_OK, status == SS1_ERROR_INVALID_ARGUMENT ? broken : status, "%s: %s", where.c_str(),
              last_error());
    return SS1_OK;
}

void write_layer_entry(json_writer &out, const layer_config &layer) {
    const ss1_linear_desc &desc = layer.desc;
    out.begin('{');
    if (layer.tied) {
        out.key("block_k").number(desc.block_k);
        out.key("block_n").number(desc.block_n);
        out.key("c").number(desc.c);
    }
    for (const auto &[name, dtype] : weight_dtypes)
        if (dtype == desc.weight_dtype && dtype != SS1_DTYPE_F32) out.key("dtype").string(name);
    out.key("kind").string(layer.tied ? "ss1" : desc.c ? "dense" : "low_rank");
    if (desc.rank) out.key("rank").number(desc.rank);
    if (layer.tied) {
        out.key("scheme").string(desc.scheme == SS1_SCHEME_REFERENCE ? "reference" : "mixed");
        out.key("seed").number(desc.seed);
        out.key("step").number(desc.step);
    }
    out.end('}');
}

ss1_status model_config_write(const model_config &config, const layer_configs &layers, const char *table_dtype,
                              std::string &out) {
    json_document document;
    SS1_TRY(json_parse(config.text, "config.json", {}, document));
    layer_configs all = layers;
    all.insert(config.layers.begin(), config.layers.end());
    json_writer writer(2);
    writer.begin('{');
    for (const json &member : document.root()) {
        if (member.key() == "ss1") continue;
        writer.key(member.key());
        if (member.key() == "tables" && table_dtype)
            write_tables(writer, member, table_dtype);
        else
            writer.copy(member);
    }
    if (!all.empty()) write_layers(writer, all);
    writer.end('}');
    out = writer.take() + "\n";
    return SS1_OK;
}

}  // namespace ss1
