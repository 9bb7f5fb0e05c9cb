// SPDX-License-Identifier: Apache-2.0
#include "io/dlrm_config.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <set>
#include <span>

#include "base/status.hpp"
#include "io/limits.hpp"

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
        SS1_CHECK(value.is_string() && is_name(value.string()), SS1_ERROR_FORMAT,
                  "%s: %s[%zu]: must be a string of 1 to 512 bytes without control characters", label.c_str(), name,
                  out.size());
        out.emplace_back(value.string());
        SS1_CHECK(seen.insert(out.back()).second, SS1_ERROR_FORMAT, "%s: %s: '%s' is listed twice", label.c_str(), name,
                  printable(out.back()).c_str());
    }
    return SS1_OK;
}

// f32 holds the means, as it holds the features.
ss1_status parse_means(const json &config, const std::string &label, dlrm_config &dlrm) {
    const json *list;
    SS1_TRY(json_member(config, label, "dense_means", key::optional, list));
    if (!list) return SS1_OK;
    SS1_CHECK(list->is_array() && list->size() == dlrm.dense_features.size(), SS1_ERROR_FORMAT,
              "%s: dense_means: must be an array of %zu numbers, one for each of dense_features", label.c_str(),
              dlrm.dense_features.size());
    for (const json &value : *list) {
        SS1_CHECK(value.is_number() && std::fabs(value.number()) <= FLT_MAX, SS1_ERROR_FORMAT,
                  "%s: dense_means[%zu]: is %s, must be a finite number in f32", label.c_str(), dlrm.dense_means.size(),
                  printable(value.text()).c_str());
        dlrm.dense_means.push_back(value.number());
    }
    return SS1_OK;
}

ss1_status parse_vocabulary(const json &table, const std::string &where, dlrm_table &out) {
    SS1_TRY(json_string(table, where, "vocabulary", key::required, out.vocabulary));
    const std::string_view name = out.vocabulary;
    SS1_CHECK(
        is_name(name) && name.size() <= 255 && name.find_first_of("/\\") == name.npos && name != "." && name != "..",
        SS1_ERROR_FORMAT,
        "%s: vocabulary '%s' must be the plain name of a file in the same folder: at most 255 bytes, no / or \\ and no "
        "control characters",
        where.c_str(), printable(name).c_str());
    SS1_CHECK(name != "config.json" && name != "model.safetensors.index.json" && !name.ends_with(".safetensors") &&
                  !name.starts_with("ss1-report.") && name.find(".tmp-") == name.npos,
              SS1_ERROR_FORMAT, "%s: vocabulary '%s' has the name of a file that ss1 writes", where.c_str(),
              printable(name).c_str());
    size_t row = 0;
    return json_size(table, where, "unknown", key::optional, 0, out.rows - 1, row);
}

// How programs that read ids as text find the rows. C programs give indices.
ss1_status parse_ids(const json &table, const std::string &where, dlrm_table &out) {
    const bool has_vocabulary = table.find("vocabulary"), has_hash = table.find("hash");
    SS1_CHECK(!has_vocabulary || !has_hash, SS1_ERROR_FORMAT, "%s: vocabulary and hash exclude each other",
              where.c_str());
    SS1_CHECK(has_vocabulary || !table.find("unknown"), SS1_ERROR_FORMAT,
              "%s: unknown: only a table with a vocabulary has it", where.c_str());
    if (has_vocabulary) return parse_vocabulary(table, where, out);
    std::string hash;
    SS1_TRY(json_string(table, where, "hash", key::optional, hash));
    SS1_CHECK(!has_hash || hash == "murmur3" || hash == "hex" || hash == "modulo", SS1_ERROR_UNSUPPORTED,
              "%s: hash '%s' is not supported, 'murmur3', 'hex' and 'modulo' are", where.c_str(),
              printable(hash).c_str());
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
    SS1_CHECK(list->is_array() && list->size() > 0 && list->size() <= max_tables, SS1_ERROR_FORMAT,
              "%s: tables: must be an array of 1 to %zu objects", label.c_str(), max_tables);
    std::set<std::string> seen;
    for (const json &value : *list) {
        const std::string where = label + ": tables[" + std::to_string(out.size()) + "]";
        dlrm_table &table = out.emplace_back();
        SS1_TRY(json_is_object(value, where));
        SS1_TRY(json_only_keys(value, where,
                               {"name", "rows", "dtype", "pooling", "side", "vocabulary", "unknown", "hash"}));
        SS1_TRY(json_string(value, where, "name", key::required, table.name));
        SS1_TRY(json_size(value, where, "rows", key::required, 1, max_rows, table.rows));
        SS1_TRY(parse_storage(value, where, table));
        SS1_TRY(parse_side(value, where, table.user_side));
        SS1_TRY(parse_ids(value, where, table));
        SS1_CHECK(is_name(table.name), SS1_ERROR_FORMAT, "%s: name: must have 1 to 512 bytes and no control characters",
                  where.c_str());
        SS1_CHECK(seen.insert(table.name).second, SS1_ERROR_FORMAT, "%s: name '%s' is used twice", where.c_str(),
                  printable(table.name).c_str());
    }
    return SS1_OK;
}

// Checks the rules of docs/format.md. With ROBE, tables have no memory of their own.
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
        SS1_CHECK(!config.find(key), SS1_ERROR_FORMAT, "%s: %s: only interaction 'dcn' has it, this one is '%s'",
                  label.c_str(), key, name.c_str());
    return SS1_OK;
}

void add_mlp(std::vector<linear_shape> &layers, const std::string &prefix, size_t K, std::span<const size_t> widths) {
    // Layers have even numbers; odd numbers are the activations of torch.nn.Sequential.
    for (size_t i = 0; i < widths.size(); ++i) {
        layers.push_back({prefix + std::to_string(2 * i), K, widths[i], true, false});
        K = widths[i];
    }
}

// The low-rank cross layer W_l (V_l x): V_l has no bias.
void add_cross_net(std::vector<linear_shape> &layers, size_t width, const dlrm_config &dlrm) {
    for (size_t l = 0; l < dlrm.cross_layers; ++l) {
        const std::string prefix = "cross_net." + std::to_string(l);
        layers.push_back({prefix + ".v", width, dlrm.cross_rank, false, false});
        layers.push_back({prefix + ".w", dlrm.cross_rank, width, true, false});
    }
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

ss1_status dlrm_config_parse(const json &config, const std::string &label, dlrm_config &out) {
    SS1_TRY(json_only_keys(
        config, label,
        {"model_type", "dense_features", "dense_means", "embedding_dim", "tables", "bottom_mlp", "top_mlp",
         "interaction", "interaction_itself", "cross_layers", "cross_rank", "loss_threshold", "robe", "ss1"}));
    SS1_TRY(parse_names(config, label, "dense_features", max_features, out.dense_features));
    SS1_TRY(parse_means(config, label, out));
    SS1_TRY(json_size(config, label, "embedding_dim", key::required, 1, max_embedding_dim, out.embedding_dim));
    SS1_TRY(parse_tables(config, label, out.tables));
    SS1_TRY(parse_robe(config, label, out));
    SS1_TRY(parse_mlp(config, label, "bottom_mlp", 2, out.bottom_mlp));
    SS1_TRY(parse_mlp(config, label, "top_mlp", 1, out.top_mlp));
    SS1_TRY(parse_interaction(config, label, out));
    SS1_TRY(json_number(config, label, "loss_threshold", key::optional, out.loss_threshold));
    return check_dlrm(out, label.c_str());
}

void add_dlrm_layers(const dlrm_config &dlrm, std::vector<linear_shape> &layers) {
    add_mlp(layers, "bot_l.", dlrm.bottom_mlp.front(), std::span(dlrm.bottom_mlp).subspan(1));
    add_cross_net(layers, dlrm.interaction_width(), dlrm);
    add_mlp(layers, "top_l.", dlrm.interaction_width(), dlrm.top_mlp);
}

void add_dlrm_tensors(const dlrm_config &dlrm, std::vector<tensor_spec> &tensors) {
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

}  // namespace ss1
