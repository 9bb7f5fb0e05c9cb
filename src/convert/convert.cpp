// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/checked.hpp"
#include "base/status.hpp"
#include "io/families.hpp"
#include "io/file.hpp"
#include "io/model_directory.hpp"
#include "io/model_write.hpp"
#include "io/table_rows.hpp"
#include "mapping/mapping.hpp"
#include "mapping/project.hpp"

namespace ss1 {
namespace {

// One comma-separated part of ss1_convert_options::layers.
struct pattern {
    std::string text;
    bool exclude;
};

// Whether layers become tied. Otherwise layers keep their weights and at most the types of weights and tables change.
bool ties(const ss1_convert_options &options) noexcept {
    return options.desc->c >= 2;
}
bool tables_alone(const ss1_convert_options &options) noexcept {
    return options.tables != SS1_TABLE_DEFAULT && options.desc->c == 0 &&
           options.desc->weight_dtype == SS1_DTYPE_DEFAULT;
}

ss1_status check_options(const ss1_convert_options &options) {
    const ss1_linear_desc &desc = *options.desc;
    SS1_CHECK(options.from == SS1_CONVERT_FROM_DENSE || options.from == SS1_CONVERT_FROM_SSL,
              SS1_ERROR_INVALID_ARGUMENT, "options.from=%d is not a value of ss1_convert_from",
              static_cast<int>(options.from));
    for (const auto &[type, field] : {std::pair(desc.x_dtype, "x_dtype"), {desc.y_dtype, "y_dtype"}})
        SS1_CHECK(type == SS1_DTYPE_DEFAULT || type == SS1_DTYPE_F32, SS1_ERROR_UNSUPPORTED,
                  "options.desc.%s=%d: leave it 0, the model decides the types of inputs and outputs", field,
                  static_cast<int>(type));
    SS1_CHECK(!desc.activation && !desc.K && !desc.N, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.activation=%d, K=%zu, N=%zu: must be 0, the layers of the model have their own",
              static_cast<int>(desc.activation), desc.K, desc.N);
    SS1_CHECK(!desc.rank, SS1_ERROR_UNSUPPORTED,
              "options.desc.rank=%zu: must be 0, a conversion makes no low-rank part", desc.rank);
    SS1_CHECK(options.load->weight_dtype == SS1_DTYPE_DEFAULT, SS1_ERROR_INVALID_ARGUMENT,
              "options.load.weight_dtype=%d: the type to write is options.desc.weight_dtype",
              static_cast<int>(options.load->weight_dtype));
    SS1_CHECK(options.tables >= SS1_TABLE_DEFAULT && options.tables <= SS1_TABLE_INT4, SS1_ERROR_INVALID_ARGUMENT,
              "options.tables=%d is not a value of ss1_table_dtype", static_cast<int>(options.tables));
    const bool dtype_alone = options.from == SS1_CONVERT_FROM_DENSE && desc.weight_dtype != SS1_DTYPE_DEFAULT;
    SS1_CHECK(ties(options) || dtype_alone || tables_alone(options), SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.c=%u: c must be given and at least 2, or weight_dtype be given", desc.c);
    SS1_CHECK(!tables_alone(options) || !options.layers, SS1_ERROR_INVALID_ARGUMENT,
              "options.layers='%.100s': neither desc.c nor desc.weight_dtype says what to do with them",
              options.layers);
    if (!ties(options))
        SS1_CHECK(!desc.scheme && !desc.seed && !desc.block_k && !desc.block_n && !desc.step,
                  SS1_ERROR_INVALID_ARGUMENT,
                  "options.desc.c=%u ties no layer: scheme, seed, block_k, block_n and step must be 0", desc.c);
    if (options.from == SS1_CONVERT_FROM_DENSE) return SS1_OK;
    SS1_CHECK(desc.scheme == SS1_SCHEME_REFERENCE, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.scheme=%d: SSL checkpoints are made with SS1_SCHEME_REFERENCE=%d",
              static_cast<int>(desc.scheme), static_cast<int>(SS1_SCHEME_REFERENCE));
    SS1_CHECK(desc.seed != 0, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.seed is missing: an SSL checkpoint does not hold it");
    SS1_CHECK(desc.block_k != 0, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.block_k is missing: an SSL checkpoint does not hold it");
    SS1_CHECK(desc.block_n != 0, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.block_n is missing: an SSL checkpoint does not hold it");
    SS1_CHECK(!options.load->random_weights, SS1_ERROR_INVALID_ARGUMENT,
              "options.load.random_weights: an SSL checkpoint is read, not drawn");
    return SS1_OK;
}

ss1_status parse_patterns(const char *list, std::vector<pattern> &out) {
    std::string_view rest = list ? list : "";
    while (!rest.empty()) {
        std::string_view part = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(rest.size(), part.size() + 1));
        while (part.starts_with(' ')) part.remove_prefix(1);
        while (part.ends_with(' ')) part.remove_suffix(1);
        const bool exclude = part.starts_with('!');
        if (exclude) part.remove_prefix(1);
        SS1_CHECK(!part.empty(), SS1_ERROR_INVALID_ARGUMENT, "options.layers='%s': empty pattern",
                  printable(list).c_str());
        out.push_back({std::string(part), exclude});
    }
    SS1_CHECK(!list || !out.empty(), SS1_ERROR_INVALID_ARGUMENT, "options.layers is empty, NULL means every layer");
    return SS1_OK;
}

bool matches(const std::vector<pattern> &patterns, bool exclude, const std::string &name) noexcept {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const pattern &p) { return p.exclude == exclude && glob_match(p.text, name); });
}

// Lists the linear layers that the directory has: a BERT may lack pooler and classifier.
std::vector<linear_shape> present_layers(const model_directory &directory) {
    std::vector<linear_shape> layers = linear_layers(directory.config);
    std::erase_if(layers, [&](const linear_shape &layer) {
        return !directory.find(layer.name + ".weight") && !directory.find(layer.name + ".ss1_weight") &&
               !directory.find(layer.name + ".low_rank_up");
    });
    return layers;
}

// Resolves the desc of a layer from `options`: sets K, N and every default.
ss1_status convert_layer(const model_directory &directory, const ss1_convert_options &options,
                         const linear_shape &shape, layer_config &out) {
    const auto before = directory.config.layers.find(shape.name);
    out = {false, SS1_LINEAR_DESC_INIT};
    if (before != directory.config.layers.end()) out = before->second;
    const ss1_dtype dtype = options.desc->weight_dtype ? options.desc->weight_dtype : out.desc.weight_dtype;
    if (ties(options)) out = {true, *options.desc};
    out.desc.weight_dtype = dtype;
    out.desc.K = shape.K;
    out.desc.N = shape.N;
    return resolve_for("layer " + shape.name, SS1_ERROR_INVALID_ARGUMENT, out.desc);
}

// Returns the least number of columns that the mapping of `options` needs, as far as the options alone determine it; 0
// without a mapping.
ss1_status needed_columns(const ss1_convert_options &options, size_t &out) {
    ss1_linear_desc widest = *options.desc;
    widest.K = size_t{1} << 31;
    widest.N = 1;
    widest.weight_dtype = SS1_DTYPE_F32;
    SS1_TRY(resolve_for("options.desc", SS1_ERROR_INVALID_ARGUMENT, widest));
    out = ties(options) ? size_t{widest.c} * widest.block_k : 0;
    return SS1_OK;
}

// Selects the layers that `options` name and resolves their descs.
ss1_status select_layers(const model_directory &directory, const ss1_convert_options &options, layer_configs &out) {
    std::vector<pattern> patterns;
    SS1_TRY(parse_patterns(options.layers, patterns));
    const std::vector<linear_shape> layers = present_layers(directory);
    for (const pattern &p : patterns) {
        SS1_CHECK(std::any_of(layers.begin(), layers.end(),
                              [&](const linear_shape &layer) { return glob_match(p.text, layer.name); }),
                  SS1_ERROR_INVALID_ARGUMENT, "options.layers: '%s' matches no linear layer of %s",
                  printable(p.text).c_str(), directory.path.c_str());
    }
    const bool named = std::any_of(patterns.begin(), patterns.end(), [](const pattern &p) { return !p.exclude; });
    size_t needed = 0;
    SS1_TRY(needed_columns(options, needed));
    for (const linear_shape &layer : layers) {
        const bool tied_again = ties(options) && !directory.config.is_plain(layer.name);
        if (matches(patterns, true, layer.name)) continue;
        if (named ? !matches(patterns, false, layer.name) : tied_again || layer.K < needed) continue;
        SS1_CHECK(!tied_again, SS1_ERROR_INVALID_ARGUMENT, "options.layers: layer %s is %s already", layer.name.c_str(),
                  directory.config.is_tied(layer.name) ? "tied (SS1)" : "of low rank");
        SS1_TRY(convert_layer(directory, options, layer, out[layer.name]));
    }
    SS1_CHECK(!out.empty(), SS1_ERROR_INVALID_ARGUMENT,
              "no linear layer of %s is selected: none has c*block_k=%zu <= K", directory.path.c_str(), needed);
    return SS1_OK;
}

// The authors' files name Z `weight`. Its width may be padded to another multiple; only live columns count.
// model_directory_check() ran before, so every untied layer has a `weight`.
ss1_status check_ssl_shapes(const model_directory &directory, const layer_configs &layers) {
    for (const auto &[name, layer] : layers) {
        const ss1_linear_desc &desc = layer.desc;
        const model_tensor &tensor = *directory.find(name + ".weight");
        const mapping map(desc);
        const size_t padded = (desc.K / desc.c + 31) / 32 * 32;  // their constructor rounds up to 32
        const std::vector<size_t> &shape = tensor.stored.shape;
        SS1_CHECK(shape.size() == 2 && shape[0] == desc.N && (shape[1] == map.stored_columns || shape[1] == padded),
                  SS1_ERROR_FORMAT, "%s: tensor '%s' has shape %s, Z of K=%zu, c=%u, block_k=%u must be %s",
                  directory.path.c_str(), printable(tensor.name).c_str(), printable(shape_text(shape)).c_str(), desc.K,
                  desc.c, desc.block_k, shape_text(std::array{desc.N, map.stored_columns}).c_str());
    }
    return SS1_OK;
}

ss1_status check_cancel(const ss1_convert_options &options) {
    SS1_CHECK(!options.cancel || !__atomic_load_n(options.cancel, __ATOMIC_RELAXED), SS1_ERROR_CANCELLED,
              "options.cancel was set");
    return SS1_OK;
}

// Reads `weight` and computes the stored form z [N, Kz] unless the conversion is cancelled.
ss1_status tie(const ss1_context &context, const model_directory &directory, const model_tensor &weight,
               const ss1_linear_desc &desc, const ss1_convert_options &options, buffer &z) {
    SS1_TRY(check_cancel(options));
    const mapping map(desc);
    const size_t columns = weight.stored.shape[1], kz = map.stored_columns;
    buffer source;
    SS1_TRY(tensor_f32(context, directory, weight.name, weight.stored.shape, source));
    size_t bytes;
    SS1_CHECK(checked_bytes(std::array{desc.N, kz}, sizeof(float), bytes), SS1_ERROR_FORMAT,
              "%s: the size of Z overflows", weight.name.c_str());
    SS1_TRY(z.allocate(context, bytes));
    if (options.from == SS1_CONVERT_FROM_DENSE)
        return project(desc, source.as<float>(), columns, nullptr, z.as<float>(), kz);
    std::fill_n(z.as<float>(), desc.N * kz, 0.0f);
    for (size_t n = 0; n < desc.N; ++n) {
        const float *row = source.as<float>() + n * columns;
        std::copy_n(row, std::min(columns, map.live_columns), z.as<float>() + n * kz);
    }
    return SS1_OK;
}

// Writes a part of a tensor unless the conversion is cancelled.
ss1_status write_part(const ss1_convert_options &options, output_file &file, std::span<const std::byte> bytes) {
    SS1_TRY(check_cancel(options));
    return file_write(file, bytes);
}

ss1_status copy_tensor(const ss1_convert_options &options, const model_directory &directory, const model_tensor &tensor,
                       output_file &file) {
    std::vector<std::byte> block(std::min(tensor.stored.bytes, size_t{1} << 20));
    for (size_t first = 0; first < tensor.stored.bytes; first += block.size()) {
        const std::span<std::byte> part(block.data(), std::min(block.size(), tensor.stored.bytes - first));
        SS1_TRY(safetensors_read(directory.files[tensor.file], tensor.stored, first, part));
        SS1_TRY(write_part(options, file, part));
    }
    return SS1_OK;
}

ss1_status write_buffer(const ss1_convert_options &options, const buffer &data, output_file &file) {
    return write_part(options, file, {data.as<std::byte>(), data.bytes()});
}

using tables_by_tensor = std::map<std::string, table_shape>;

// Selects the tables to rewrite: those whose format changes, and random int8 and int4 tables, which are drawn in f32
// and quantised.
ss1_status select_tables(const model_directory &directory, ss1_table_dtype wanted, tables_by_tensor &out) {
    const dlrm_config &dlrm = directory.config.dlrm;
    SS1_CHECK(!wanted || directory.config.family->has_tables, SS1_ERROR_INVALID_ARGUMENT,
              "options.tables: %s is not a DLRM and has no embedding tables", directory.path.c_str());
    SS1_CHECK(!wanted || !dlrm.robe.size, SS1_ERROR_INVALID_ARGUMENT,
              "options.tables: the tables of %s are one ROBE array", directory.path.c_str());
    for (size_t k = 0; k < dlrm.tables.size() && !dlrm.robe.size; ++k) {
        const row_format format = dlrm.tables[k].format;
        const bool quantised = format == row_format::int8 || format == row_format::int4;
        SS1_CHECK(!wanted || !quantised, SS1_ERROR_INVALID_ARGUMENT, "options.tables: table %zu '%s' is %s already", k,
                  printable(dlrm.tables[k].name).c_str(), table_dtype_name(format));
        if (wanted || (quantised && directory.random))
            out["emb_l." + std::to_string(k) + ".weight"] = {dlrm.tables[k].rows, dlrm.embedding_dim,
                                                             wanted ? static_cast<row_format>(wanted) : format};
    }
    return SS1_OK;
}

void plan_table(const ss1_convert_options &options, const model_directory &directory, const model_tensor &tensor,
                const table_shape &shape, tensor_to_write &out) {
    const bool quantised = shape.format == row_format::int8 || shape.format == row_format::int4;
    out.dtype = quantised                          ? file_dtype::u8
                : shape.format == row_format::bf16 ? file_dtype::bf16
                : shape.format == row_format::f16  ? file_dtype::f16
                                                   : file_dtype::f32;
    out.shape = {shape.rows, quantised ? shape.row_bytes() : shape.d};
    out.write = [&options, &directory, &tensor, shape](output_file &file) {
        return read_table(directory, tensor, shape,
                          [&](std::span<const std::byte> rows) { return write_part(options, file, rows); });
    };
}

// Reads each tensor just before writing it, so that memory holds one at a time. `layers` are the layers to tie.
std::vector<tensor_to_write> plan(const ss1_context &context, const model_directory &directory,
                                  const layer_configs &layers, const tables_by_tensor &tables,
                                  const ss1_convert_options &options) {
    std::vector<tensor_to_write> plan;
    for (const model_tensor &tensor : directory.tensors) {
        const auto layer = layers.find(tensor.name.substr(0, tensor.name.rfind('.')));
        const bool to_tie = layer != layers.end() && tensor.name.ends_with(".weight");
        if ((tensor.shared && !to_tie) || tensor.of_module) continue;
        tensor_to_write &out = plan.emplace_back();
        out.name = tensor.shared ? stored_name(directory.config, tensor.name) : tensor.stored.name;
        out.dtype = tensor.stored.dtype;
        out.shape = tensor.stored.shape;
        if (to_tie) {
            out.name.replace(out.name.rfind('.'), out.name.npos, ".ss1_weight");
            out.dtype = file_dtype::f32;
            out.shape = {layer->second.desc.N, mapping(layer->second.desc).stored_columns};
            out.write = [&, desc = layer->second.desc](output_file &file) {
                buffer z;
                SS1_TRY(tie(context, directory, tensor, desc, options, z));
                return write_buffer(options, z, file);
            };
        } else if (const auto table = tables.find(tensor.name); table != tables.end()) {
            plan_table(options, directory, tensor, table->second, out);
        } else if (directory.random) {
            out.write = [&](output_file &file) {
                buffer values;
                SS1_TRY(tensor_f32(context, directory, tensor.name, tensor.stored.shape, values));
                return write_buffer(options, values, file);
            };
        } else {
            out.write = [&](output_file &file) { return copy_tensor(options, directory, tensor, file); };
        }
    }
    return plan;
}

// Reads the files of the tokenizer, which belongs to its model. They are only copied, so they may be empty or foreign.
ss1_status read_companions(const std::string &directory, std::map<std::string, std::string> &out) {
    constexpr size_t most = size_t{64} << 20;
    for (const char *name : {"vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json",
                             "added_tokens.json", "vocab.json", "merges.txt", "sentencepiece.bpe.model"}) {
        const std::string path = directory + "/" + name;
        if (!file_exists(path)) continue;
        input_file file;
        SS1_TRY(file_open(path, file));
        SS1_CHECK(file.bytes <= most, SS1_ERROR_FORMAT, "%s: has %zu bytes, the limit is %zu", path.c_str(), file.bytes,
                  most);
        out[name].resize(file.bytes);
        SS1_TRY(file_read(file, 0, std::as_writable_bytes(std::span(out[name]))));
    }
    return SS1_OK;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) noexcept {
    size_t p = 0, t = 0, star = pattern.npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p, ++t;
        } else if (star != pattern.npos) {  // the last star takes one more character
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == pattern.npos;
}

ss1_status convert_model(ss1_context &context, const char *directory, const char *output,
                         const ss1_convert_options &options) {
    SS1_TRY(check_options(options));
    SS1_TRY(model_write_possible(output));
    model_directory source;
    SS1_TRY(model_directory_open(directory, *options.load, source));
    layer_configs layers;
    tables_by_tensor tables;
    if (!tables_alone(options)) SS1_TRY(select_layers(source, options, layers));
    SS1_TRY(select_tables(source, options.tables, tables));
    if (options.from == SS1_CONVERT_FROM_SSL) {
        SS1_TRY(model_directory_check(source, layers));
        SS1_TRY(check_ssl_shapes(source, layers));
    } else {
        SS1_TRY(model_directory_check(source));
    }

    std::string config;
    const char *const dtype = options.tables ? table_dtype_name(static_cast<row_format>(options.tables)) : nullptr;
    SS1_TRY(model_config_write(source.config, layers, dtype, config));
    std::map<std::string, std::string> companions;
    SS1_TRY(read_companions(source.path, companions));
    const layer_configs to_tie = ties(options) ? layers : layer_configs();
    return model_write(output, config, plan(context, source, to_tie, tables, options), companions);
}

}  // namespace ss1
