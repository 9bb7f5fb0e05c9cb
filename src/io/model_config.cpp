// SPDX-License-Identifier: Apache-2.0
#include "io/model_config.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <set>

#include "base/checked.hpp"
#include "base/status.hpp"
#include "io/limits.hpp"
#include "mapping/mapping.hpp"

namespace ss1 {
namespace {

ss1_status parse_names(const json &config, const std::string &label, const char *name, size_t max,
                       std::vector<std::string> &out) {
    const json *list;
    SS1_TRY(json_member(config, label, name, key::required, list));
    SS1_CHECK(list->is_array() && list->size() <= max, SS1_ERROR_FORMAT,
              "%s: %s: must be an array of at most %zu names", label.c_str(), name, max);
    std::set<std::string> seen;
    for (const json &value : *list) {
        SS1_CHECK(value.is_string() && is_name(value.get_ref<const std::string &>()), SS1_ERROR_FORMAT,
                  "%s: %s[%zu]: must be a string of 1 to 512 bytes without control characters", label.c_str(), name,
                  out.size());
        out.push_back(value.get_ref<const std::string &>());
        SS1_CHECK(seen.insert(out.back()).second, SS1_ERROR_FORMAT, "%s: %s: '%s' is listed twice", label.c_str(), name,
                  printable(out.back()).c_str());
    }
    return SS1_OK;
}

ss1_status parse_side(const json &table, const std::string &where, bool &user_side) {
    std::string side = "item";
    SS1_TRY(json_string(table, where, "side", key::optional, side));
    SS1_CHECK(side == "item" || side == "user", SS1_ERROR_FORMAT, "%s: side '%s' is neither 'user' nor 'item'",
              where.c_str(), printable(side).c_str());
    user_side = side == "user";
    return SS1_OK;
}

struct dtype_row {
    std::string_view name;
    row_format format;
};
constexpr std::array<dtype_row, 5> table_dtypes{{{"f32", row_format::f32},
                                                 {"bf16", row_format::bf16},
                                                 {"f16", row_format::f16},
                                                 {"int8", row_format::int8},
                                                 {"int4", row_format::int4}}};

ss1_status parse_storage(const json &value, const std::string &where, dlrm_table &table) {
    std::string dtype = "f32", pooling = "sum";
    SS1_TRY(json_string(value, where, "dtype", key::optional, dtype));
    SS1_TRY(json_string(value, where, "pooling", key::optional, pooling));
    const auto known = std::ranges::find(table_dtypes, dtype, &dtype_row::name);
    SS1_CHECK(known != table_dtypes.end(), SS1_ERROR_UNSUPPORTED,
              "%s: dtype '%s' is not supported, 'f32', 'bf16', 'f16', 'int8' and 'int4' are", where.c_str(),
              printable(dtype).c_str());
    SS1_CHECK(pooling == "sum" || pooling == "mean", SS1_ERROR_UNSUPPORTED,
              "%s: pooling '%s' is not supported, 'sum' and 'mean' are", where.c_str(), printable(pooling).c_str());
    table.format = known->format;
    table.mean = pooling == "mean";
    return SS1_OK;
}

ss1_status parse_tables(const json &config, const std::string &label, std::vector<dlrm_table> &out) {
    const json *list;
    SS1_TRY(json_member(config, label, "tables", key::required, list));
    SS1_CHECK(list->is_array() && !list->empty() && list->size() <= max_tables, SS1_ERROR_FORMAT,
              "%s: tables: must be an array of 1 to %zu objects", label.c_str(), max_tables);
    std::set<std::string> seen;
    for (const json &value : *list) {
        const std::string where = label + ": tables[" + std::to_string(out.size()) + "]";
        dlrm_table &table = out.emplace_back();
        SS1_TRY(json_is_object(value, where));
        SS1_TRY(json_only_keys(value, where, {"name", "rows", "dtype", "pooling", "side"}));
        SS1_TRY(json_string(value, where, "name", key::required, table.name));
        SS1_TRY(json_size(value, where, "rows", key::required, 1, max_rows, table.rows));
        SS1_TRY(parse_storage(value, where, table));
        SS1_TRY(parse_side(value, where, table.user_side));
        SS1_CHECK(is_name(table.name), SS1_ERROR_FORMAT, "%s: name: must have 1 to 512 bytes and no control characters",
                  where.c_str());
        SS1_CHECK(seen.insert(table.name).second, SS1_ERROR_FORMAT, "%s: name '%s' is used twice", where.c_str(),
                  printable(table.name).c_str());
    }
    return SS1_OK;
}

// The rules of README.md; tables then have no storage of their own.
ss1_status parse_robe(const json &config, const std::string &label, dlrm_config &dlrm) {
    const json *robe;
    SS1_TRY(json_member(config, label, "robe", key::optional, robe));
    if (!robe) return SS1_OK;
    const std::string where = label + ": robe";
    robe_config &out = dlrm.robe;
    SS1_TRY(json_is_object(*robe, where));
    SS1_TRY(json_only_keys(*robe, where, {"size", "block", "seed"}));
    SS1_TRY(json_size(*robe, where, "block", key::required, 8, max_embedding_dim, out.block));
    SS1_TRY(json_size(*robe, where, "size", key::required, out.block, max_robe_size, out.size));
    SS1_TRY(json_size(*robe, where, "seed", key::required, 0, INT64_MAX, out.seed));
    SS1_CHECK(std::has_single_bit(out.block) && dlrm.embedding_dim % out.block == 0, SS1_ERROR_FORMAT,
              "%s: block is %zu, must be a power of two that divides embedding_dim, %zu", where.c_str(), out.block,
              dlrm.embedding_dim);
    SS1_CHECK(out.size % out.block == 0, SS1_ERROR_FORMAT, "%s: size is %zu, must be a multiple of block, %zu",
              where.c_str(), out.size, out.block);
    for (dlrm_table &table : dlrm.tables) {
        SS1_CHECK(table.format == row_format::f32, SS1_ERROR_UNSUPPORTED,
                  "%s: table '%s' has dtype '%s', tables of a ROBE array are f32", where.c_str(),
                  printable(table.name).c_str(), table_dtype_name(table.format));
        table.format = row_format::robe;
    }
    return SS1_OK;
}

ss1_status parse_mlp(const json &config, const std::string &label, const char *name, size_t min_entries,
                     std::vector<size_t> &out) {
    const json *list;
    SS1_TRY(json_member(config, label, name, key::required, list));
    SS1_CHECK(list->is_array() && list->size() >= min_entries && list->size() <= max_layers, SS1_ERROR_FORMAT,
              "%s: %s: must be an array of %zu to %zu widths", label.c_str(), name, min_entries, max_layers);
    for (const json &value : *list) {
        size_t width;
        SS1_TRY(
            json_size_value(value, label + ": " + name + "[" + std::to_string(out.size()) + "]", 1, max_width, width));
        out.push_back(width);
    }
    return SS1_OK;
}

ss1_status check_dlrm(const dlrm_config &dlrm, const char *label) {
    SS1_CHECK(dlrm.bottom_mlp.front() == dlrm.dense_features.size(), SS1_ERROR_FORMAT,
              "%s: bottom_mlp starts with %zu, must be the number of dense_features, %zu", label,
              dlrm.bottom_mlp.front(), dlrm.dense_features.size());
    SS1_CHECK(dlrm.bottom_mlp.back() == dlrm.embedding_dim, SS1_ERROR_FORMAT,
              "%s: bottom_mlp ends with %zu, must be embedding_dim, %zu", label, dlrm.bottom_mlp.back(),
              dlrm.embedding_dim);
    SS1_CHECK(dlrm.top_mlp.back() == 1, SS1_ERROR_FORMAT, "%s: top_mlp ends with %zu, must be 1 (one probability)",
              label, dlrm.top_mlp.back());
    SS1_CHECK(dlrm.interaction_width() <= max_width, SS1_ERROR_FORMAT,
              "%s: the interaction of %zu tables has %zu outputs, the limit is %zu", label, dlrm.tables.size(),
              dlrm.interaction_width(), max_width);
    SS1_CHECK(!std::ranges::all_of(dlrm.tables, &dlrm_table::user_side), SS1_ERROR_FORMAT,
              "%s: tables: all are on the user's side, at least one must be on the items'", label);
    SS1_CHECK(dlrm.loss_threshold >= 0 && dlrm.loss_threshold < 0.5, SS1_ERROR_FORMAT,
              "%s: loss_threshold is %g, must be in [0, 0.5)", label, dlrm.loss_threshold);
    return SS1_OK;
}

ss1_status parse_interaction(const json &config, const std::string &label, dlrm_config &out) {
    std::string name = "dot";
    SS1_TRY(json_string(config, label, "interaction", key::optional, name));
    SS1_CHECK(name == "dot" || name == "cat" || name == "dcn", SS1_ERROR_UNSUPPORTED,
              "%s: interaction '%s' is not supported, 'dot', 'cat' and 'dcn' are", label.c_str(),
              printable(name).c_str());
    out.interaction = name == "dot"   ? dlrm_interaction::dot
                      : name == "cat" ? dlrm_interaction::cat
                                      : dlrm_interaction::dcn;
    SS1_TRY(json_bool(config, label, "interaction_itself", key::optional, out.interaction_itself));
    if (out.interaction == dlrm_interaction::dcn) {
        SS1_TRY(json_size(config, label, "cross_layers", key::required, 1, max_layers, out.cross_layers));
        return json_size(config, label, "cross_rank", key::required, 1, max_width, out.cross_rank);
    }
    for (const char *key : {"cross_layers", "cross_rank"})
        SS1_CHECK(!config.contains(key), SS1_ERROR_FORMAT, "%s: %s: only interaction 'dcn' has it, this one is '%s'",
                  label.c_str(), key, name.c_str());
    return SS1_OK;
}

ss1_status parse_dlrm(const json &config, const std::string &label, dlrm_config &out) {
    SS1_TRY(json_only_keys(
        config, label,
        {"model_type", "dense_features", "embedding_dim", "tables", "bottom_mlp", "top_mlp", "interaction",
         "interaction_itself", "cross_layers", "cross_rank", "loss_threshold", "robe", "ss1"}));
    SS1_TRY(parse_names(config, label, "dense_features", max_features, out.dense_features));
    SS1_TRY(json_size(config, label, "embedding_dim", key::required, 1, max_embedding_dim, out.embedding_dim));
    SS1_TRY(parse_tables(config, label, out.tables));
    SS1_TRY(parse_robe(config, label, out));
    SS1_TRY(parse_mlp(config, label, "bottom_mlp", 2, out.bottom_mlp));
    SS1_TRY(parse_mlp(config, label, "top_mlp", 1, out.top_mlp));
    SS1_TRY(parse_interaction(config, label, out));
    SS1_TRY(json_number(config, label, "loss_threshold", key::optional, out.loss_threshold));
    return check_dlrm(out, label.c_str());
}

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

// Every field of the mapping is required: a file must mean the same after a change of the defaults.
ss1_status parse_mapping(const json &entry, const std::string &where, ss1_linear_desc &desc) {
    SS1_TRY(json_only_keys(entry, where, {"kind", "dtype", "c", "scheme", "seed", "block_k", "block_n", "step"}));
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
    SS1_CHECK(kind == "ss1" || kind == "dense", SS1_ERROR_UNSUPPORTED,
              "%s: kind '%s' is not supported, 'ss1' and 'dense' are", where.c_str(), printable(kind).c_str());
    out.tied = kind == "ss1";
    SS1_TRY(out.tied ? parse_mapping(entry, where, out.desc) : json_only_keys(entry, where, {"kind", "dtype"}));
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
    for (const auto &[name, entry] : layers->items()) {
        const std::string where = label + ": ss1.layers '" + printable(name) + "'";
        const auto shape = known.find(name);
        SS1_CHECK(shape != known.end(), SS1_ERROR_FORMAT, "%s: is no linear layer of this model", where.c_str());
        layer_config layer = {false, SS1_LINEAR_DESC_INIT};
        layer.desc.K = shape->second.K;
        layer.desc.N = shape->second.N;
        SS1_TRY(parse_layer(entry, where, layer));
        out.layers.emplace(name, layer);
    }
    return SS1_OK;
}

void add_mlp(std::vector<linear_shape> &layers, const std::string &prefix, size_t K, std::span<const size_t> widths) {
    // Only even numbers hold parameters: the odd ones are the activations of torch.nn.Sequential.
    for (size_t i = 0; i < widths.size(); ++i) {
        layers.push_back({prefix + std::to_string(2 * i), K, widths[i], true, false});
        K = widths[i];
    }
}

// Low rank: W_l (V_l x), V_l without a bias.
void add_cross_net(std::vector<linear_shape> &layers, size_t width, const dlrm_config &dlrm) {
    for (size_t l = 0; l < dlrm.cross_layers; ++l) {
        const std::string prefix = "cross_net." + std::to_string(l);
        layers.push_back({prefix + ".v", width, dlrm.cross_rank, false, false});
        layers.push_back({prefix + ".w", dlrm.cross_rank, width, true, false});
    }
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
        layers.push_back({"pooler.dense", H, H, true, optional || !classifies || bert.has_pre_classifier()});
    if (bert.has_pre_classifier()) layers.push_back({"pre_classifier", H, H, true, false});
    switch (bert.head) {
        case bert_head::none:
            break;
        case bert_head::sequence_classification:
        case bert_head::token_classification:
            layers.push_back({"classifier", H, bert.num_labels, true, optional});
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

void add_tables(std::vector<tensor_spec> &tensors, const dlrm_config &dlrm) {
    if (dlrm.robe.size) {
        tensors.push_back({"robe.weight", {dlrm.robe.size}, "", false});
        return;
    }
    for (size_t k = 0; k < dlrm.tables.size(); ++k) {
        const row_format format = dlrm.tables[k].format;
        const bool quantised = format == row_format::int8 || format == row_format::int4;
        const size_t columns = quantised ? row_bytes(format, dlrm.embedding_dim) : dlrm.embedding_dim;
        tensors.push_back(
            {"emb_l." + std::to_string(k) + ".weight", {dlrm.tables[k].rows, columns}, "", false, quantised});
    }
}

// What is in no linear layer.
void add_bert_tables(std::vector<tensor_spec> &tensors, const bert_config &bert) {
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

}  // namespace

const char *table_dtype_name(row_format format) noexcept {
    const auto known = std::ranges::find(table_dtypes, format, &dtype_row::format);
    return known != table_dtypes.end() ? known->name.data() : "robe";
}

size_t dlrm_config::interaction_width() const noexcept {
    const size_t vectors = tables.size() + 1;
    if (interaction != dlrm_interaction::dot) return vectors * embedding_dim;
    return embedding_dim + (interaction_itself ? vectors * (vectors + 1) / 2 : vectors * (vectors - 1) / 2);
}

bool model_config::is_tied(const std::string &layer) const noexcept {
    const auto found = layers.find(layer);
    return found != layers.end() && found->second.tied;
}

ss1_status model_config_parse(std::string_view text, const char *label, model_config &out) {
    model_config config;
    config.text = text;
    SS1_TRY(json_parse(text, label, {}, config.original));
    const json &root = config.original;
    std::string type;
    SS1_TRY(json_is_object(root, label));
    SS1_TRY(json_string(root, label, "model_type", key::required, type));
    SS1_CHECK(type == "dlrm" || is_bert(type), SS1_ERROR_UNSUPPORTED,
              "%s: model_type '%s' is not supported, 'dlrm', 'bert', 'distilbert', 'roberta' and 'xlm-roberta' are",
              label, printable(type).c_str());
    if (type == "dlrm") {
        config.family = model_family::dlrm;
        SS1_TRY(parse_dlrm(root, label, config.dlrm));
    } else {
        config.family = model_family::bert;
        SS1_TRY(bert_config_parse(root, type, label, config.bert));
    }
    SS1_TRY(parse_layers(root, label, config));
    out = std::move(config);
    return SS1_OK;
}

std::vector<linear_shape> linear_layers(const model_config &config) {
    std::vector<linear_shape> layers;
    if (config.family == model_family::dlrm) {
        const dlrm_config &dlrm = config.dlrm;
        add_mlp(layers, "bot_l.", dlrm.bottom_mlp.front(), std::span(dlrm.bottom_mlp).subspan(1));
        add_cross_net(layers, dlrm.interaction_width(), dlrm);
        add_mlp(layers, "top_l.", dlrm.interaction_width(), dlrm.top_mlp);
        return layers;
    }
    add_encoder(layers, config.bert);
    add_head(layers, config.bert);
    return layers;
}

std::vector<tensor_spec> model_tensors(const model_config &config) {
    std::vector<tensor_spec> tensors;
    if (config.family == model_family::dlrm) {
        add_tables(tensors, config.dlrm);
    } else {
        add_bert_tables(tensors, config.bert);
    }
    for (const linear_shape &layer : linear_layers(config)) {
        const bool tied = config.is_tied(layer.name), optional = layer.optional && !tied;
        if (tied) {
            const size_t stored_columns = mapping(config.layers.at(layer.name).desc).stored_columns;
            tensors.push_back({layer.name + ".ss1_weight", {layer.N, stored_columns}, layer.name, false});
        } else {
            tensors.push_back({layer.name + ".weight", {layer.N, layer.K}, layer.name, optional});
        }
        if (layer.has_bias) tensors.push_back({layer.name + ".bias", {layer.N}, layer.name, optional});
    }
    return tensors;
}

ss1_status resolve_for(const std::string &where, ss1_status broken, ss1_linear_desc &desc) {
    ss1_status status;
    {
        const api_scope unnamed(nullptr);  // the message becomes a part of ours, which names the API function itself
        status = linear_resolve(desc, nullptr);
    }
    SS1_CHECK(status == SS1_OK, status == SS1_ERROR_INVALID_ARGUMENT ? broken : status, "%s: %s", where.c_str(),
              last_error());
    return SS1_OK;
}

json layer_entry(const layer_config &layer) {
    const ss1_linear_desc &desc = layer.desc;
    json entry = {{"kind", layer.tied ? "ss1" : "dense"}};
    if (layer.tied) {
        entry.update({{"c", desc.c},
                      {"scheme", desc.scheme == SS1_SCHEME_REFERENCE ? "reference" : "mixed"},
                      {"seed", desc.seed},
                      {"block_k", desc.block_k},
                      {"block_n", desc.block_n},
                      {"step", desc.step}});
    }
    for (const auto &[name, dtype] : weight_dtypes) {
        if (dtype == desc.weight_dtype && dtype != SS1_DTYPE_F32) entry["dtype"] = name;
    }
    return entry;
}

}  // namespace ss1
