// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/checked.hpp"
#include "base/status.hpp"
#include "convert/calibration.hpp"
#include "convert/convert_options.hpp"
#include "convert/other_files.hpp"
#include "convert/select_layers.hpp"
#include "io/families.hpp"
#include "io/model_directory.hpp"
#include "io/model_write.hpp"
#include "io/table_rows.hpp"
#include "mapping/fit.hpp"
#include "mapping/mapping.hpp"

namespace ss1 {
namespace {

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

// A conversion, and the parts of the layer that is being written: the tensors of a layer follow each other.
struct conversion {
    const ss1_context &context;
    const model_directory &directory;
    const ss1_convert_options &options;
    const layer_configs &layers;  // that get a new form
    std::string fitted = {};      // name of the layer of `parts`
    fitted_layer parts = {};
    std::vector<std::string> partners = {};  // layers with one V, and their fit, stacked along N
    fitted_layer stack = {};
};

// Copies Z of the authors' files, whose width may be padded.
void take_ssl(const mapping &map, const buffer &source, size_t columns, std::vector<float> &z) {
    const size_t kz = map.stored_columns;
    z.assign(map.desc.N * kz, 0.0f);
    for (size_t n = 0; n < map.desc.N; ++n)
        std::copy_n(source.as<float>() + n * columns, std::min(columns, map.live_columns), z.data() + n * kz);
}

// Whether the layer's bias can take the mean of what the fit loses.
bool corrects_bias(const model_directory &directory, const ss1_convert_options &options, const std::string &name) {
    const model_tensor *bias = directory.find(name + ".bias");
    return options.calibration && bias && bias->source.empty();
}

// Part i of n stacked layers.
fitted_layer part_of(const fitted_layer &stack, size_t i, size_t n) {
    fitted_layer part = stack;
    for (std::vector<float> *stacked : {&part.u, &part.bias}) {
        const auto size = static_cast<std::ptrdiff_t>(stacked->size() / n),
                   begin = static_cast<std::ptrdiff_t>(i) * size;
        *stacked = {stacked->begin() + begin, stacked->begin() + begin + size};
    }
    return part;
}

// Fits the weights of the layers of c.partners, stacked along N, to what they have read (NULL: to themselves).
ss1_status fit_stack(conversion &c, const ss1_linear_desc &desc, const input_sums *sums) {
    const size_t n = c.partners.size(), shape[] = {desc.N, desc.K};
    buffer weight;
    SS1_TRY(weight.allocate(c.context, n * desc.N * desc.K * sizeof(float)));
    for (size_t i = 0; i < n; ++i)
        SS1_TRY(tensor_f32(c.directory, c.partners[i] + ".weight", shape, weight.as<float>() + i * desc.N * desc.K));
    dense_layer layer = {n * desc.N, desc.K, weight.as<float>(), desc.K, nullptr, nullptr};
    std::vector<double> second, mean;
    if (sums) {
        second.resize(desc.K * desc.K);
        for (size_t i = 0; i < second.size(); ++i) second[i] = sums->moment(i / desc.K, i % desc.K);
        for (const double sum : sums->sum) mean.push_back(sum / static_cast<double>(sums->rows));
        layer.second = second.data();
        if (corrects_bias(c.directory, c.options, c.partners[0])) layer.mean = mean.data();
    }
    return fit_layer(layer, desc.c ? &desc : nullptr, desc.rank, c.stack);
}

// Fits the weight to what the layer has read, or to itself. Layers with one V, whose tensors follow each other in most
// files, are fitted once.
ss1_status fit_to_inputs(conversion &c, const std::string &name, const ss1_linear_desc &desc, size_t &rows) {
    const input_sums *sums = nullptr;
    if (c.options.calibration) {
        SS1_TRY(calibration_sums(*c.options.calibration, name.c_str(), sums));
        rows = sums->rows;
    }
    std::vector<std::string> partners;
    SS1_TRY(layers_with_one_v(c.options.calibration, c.layers, name, partners));
    if (partners != c.partners) {
        c.partners = std::move(partners);
        SS1_TRY(fit_stack(c, desc, sums));
    }
    c.parts = part_of(c.stack, static_cast<size_t>(std::ranges::find(c.partners, name) - c.partners.begin()),
                      c.partners.size());
    return SS1_OK;
}

ss1_status read_ssl(conversion &c, const std::string &name, const ss1_linear_desc &desc) {
    const model_tensor &tensor = *c.directory.find(name + ".weight");
    buffer weight;
    SS1_TRY(tensor_f32(c.context, c.directory, tensor.name, tensor.stored.shape, weight));
    take_ssl(mapping(desc), weight, tensor.stored.shape[1], c.parts.z);
    return SS1_OK;
}

// Makes c.parts those of the layer, unless the conversion is cancelled.
ss1_status fit(conversion &c, const std::string &name) {
    if (c.fitted == name) return SS1_OK;
    SS1_TRY(check_cancel(c.options));
    const ss1_linear_desc &desc = c.layers.at(name).desc;
    ss1_converted_layer report = SS1_CONVERTED_LAYER_INIT;
    SS1_TRY(c.options.from == SS1_CONVERT_FROM_SSL ? read_ssl(c, name, desc)
                                                   : fit_to_inputs(c, name, desc, report.rows));
    c.fitted = name;
    report.name = name.c_str();
    report.error = c.parts.error;
    report.desc = desc;
    if (c.options.report) c.options.report(c.options.report_user, &report);
    return SS1_OK;
}

// Checks that the calibration has read enough rows for every layer to convert.
ss1_status check_calibration(const ss1_convert_options &options, const layer_configs &layers) {
    if (!options.calibration) return SS1_OK;
    for (const auto &[name, layer] : layers) {
        const input_sums *sums = nullptr;
        SS1_TRY(calibration_sums(*options.calibration, name.c_str(), sums));
        SS1_CHECK(sums->K == layer.desc.K, SS1_ERROR_INVALID_ARGUMENT,
                  "options.calibration: layer %s reads %zu inputs there, but has K=%zu", name.c_str(), sums->K,
                  layer.desc.K);
        const size_t needed = options.min_rows ? options.min_rows : layer.desc.K;
        SS1_CHECK(sums->rows >= needed, SS1_ERROR_INVALID_ARGUMENT,
                  "options.calibration: layer %s has read %zu rows, it needs %zu (%s): calibrate with more",
                  name.c_str(), sums->rows, needed, options.min_rows ? "options.min_rows" : "as many as it has inputs");
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

// Plans the parts of a layer; `stored` is the name of its weight in the file.
void plan_parts(conversion &c, const std::string &name, const std::string &stored, std::vector<tensor_to_write> &plan) {
    const ss1_linear_desc &desc = c.layers.at(name).desc;
    const auto add = [&](const char *suffix, std::vector<float> fitted_layer::*part, size_t rows, size_t columns) {
        if (rows * columns == 0) return;
        tensor_to_write &out = plan.emplace_back();
        out.name = stored.substr(0, stored.rfind('.')) + suffix;
        out.dtype = file_dtype::f32;
        out.shape = {rows, columns};
        out.write = [&c, name, part](output_file &file) {
            SS1_TRY(fit(c, name));
            return write_part(c.options, file, std::as_bytes(std::span(c.parts.*part)));
        };
    };
    add(".low_rank_down", &fitted_layer::v, desc.rank, desc.K);
    add(".low_rank_up", &fitted_layer::u, desc.N, desc.rank);
    add(".ss1_weight", &fitted_layer::z, desc.N, mapping(desc).stored_columns);
}

void plan_bias(conversion &c, const std::string &name, const model_tensor &tensor, tensor_to_write &out) {
    out.dtype = file_dtype::f32;
    out.write = [&c, name, &tensor](output_file &file) {
        buffer bias;
        SS1_TRY(fit(c, name));
        SS1_TRY(tensor_f32(c.context, c.directory, tensor.name, tensor.stored.shape, bias));
        for (size_t n = 0; n < c.parts.bias.size(); ++n) bias.as<float>()[n] += c.parts.bias[n];
        return write_buffer(c.options, bias, file);
    };
}

// Reads each tensor just before writing it, so that memory holds one layer at a time.
std::vector<tensor_to_write> plan(conversion &c, const tables_by_tensor &tables) {
    std::vector<tensor_to_write> plan;
    const auto layer_of = [](const std::string &tensor) { return tensor.substr(0, tensor.rfind('.')); };
    const auto is_converted = [&](const std::string &tensor) {
        return tensor.ends_with(".weight") && c.layers.contains(layer_of(tensor));
    };
    for (const model_tensor &tensor : c.directory.tensors) {
        const std::string name = layer_of(tensor.name);
        const bool has_new_form = c.layers.contains(name), is_weight = is_converted(tensor.name);
        const bool shared = !tensor.source.empty();
        // Two names of one tensor become two tensors when the layer of one is converted.
        if ((shared && !is_weight && !is_converted(tensor.source)) || tensor.of_module) continue;
        const std::string stored = shared ? stored_name(c.directory.config, tensor.name) : tensor.stored.name;
        if (is_weight) {
            plan_parts(c, name, stored, plan);
            continue;
        }
        tensor_to_write &out = plan.emplace_back();
        out.name = stored;
        out.dtype = tensor.stored.dtype;
        out.shape = tensor.stored.shape;
        if (has_new_form && corrects_bias(c.directory, c.options, name)) {
            plan_bias(c, name, tensor, out);
        } else if (const auto table = tables.find(tensor.name); table != tables.end()) {
            plan_table(c.options, c.directory, tensor, table->second, out);
        } else if (c.directory.random) {
            out.write = [&](output_file &file) {
                buffer values;
                SS1_TRY(tensor_f32(c.context, c.directory, tensor.name, tensor.stored.shape, values));
                return write_buffer(c.options, values, file);
            };
        } else {
            out.write = [&](output_file &file) { return copy_tensor(c.options, c.directory, tensor, file); };
        }
    }
    return plan;
}

}  // namespace

ss1_status convert_model(ss1_context &context, const char *directory, const char *output,
                         const ss1_convert_options &options) {
    SS1_TRY(check_options(options));
    model_directory source;
    SS1_TRY(model_directory_open(directory, *options.load, source));
    const std::string &folder = source.config.sentence.folder;
    SS1_TRY(model_write_possible(output, folder));
    layer_configs layers;
    tables_by_tensor tables;
    if (options.form)
        SS1_TRY(ask_for_forms(source, options, layers));
    else if (!tables_alone(options))
        SS1_TRY(select_layers(context, source, options, layers));
    layer_configs new_forms;
    if (reforms(options))
        std::ranges::copy_if(layers, std::inserter(new_forms, new_forms.end()), [&](const auto &layer) {
            return has_parts(layer.second.desc) && source.config.is_plain(layer.first);
        });
    SS1_TRY(check_calibration(options, new_forms));
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
    conversion c = {context, source, options, new_forms};
    std::vector<std::string> kept;
    SS1_TRY(other_files(source, directory, kept));
    return model_write(output, {folder, config, plan(c, tables), directory, kept},
                       [&] { return check_cancel(options); });
}

}  // namespace ss1
