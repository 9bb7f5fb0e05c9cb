// SPDX-License-Identifier: Apache-2.0
#include "io/model_directory.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>

#include "base/checked.hpp"
#include "base/status.hpp"
#include "half.hpp"
#include "io/families.hpp"

namespace ss1 {
namespace {

constexpr size_t max_text_bytes = size_t{16} << 20;  // of a JSON file
constexpr size_t max_shards = 256;                   // each shard stays open as long as the directory
constexpr size_t chunk = 16384;                      // elements converted at once, on the stack

constexpr const char *single_file = "model.safetensors";
constexpr const char *index_file = "model.safetensors.index.json";

uint64_t splitmix64(uint64_t x) noexcept {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t fnv1a(std::string_view text) noexcept {
    uint64_t h = 0xCBF29CE484222325u;
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    return h;
}

// Returns a value in (0, 1], which has a finite logarithm.
double uniform(uint64_t bits) noexcept {
    return (static_cast<double>(bits >> 11) + 1) * 0x1p-53;
}

ss1_status check_shard_name(std::string_view name, const std::string &where) {
    SS1_CHECK(is_name(name) && name.size() <= 255 && name.find('/') == name.npos && name.find('\\') == name.npos &&
                  name.find("..") == name.npos && name.ends_with(".safetensors"),
              SS1_ERROR_FORMAT, "%s: shard '%s' must be the plain name of a .safetensors file in the same folder",
              where.c_str(), printable(name).c_str());
    return SS1_OK;
}

// Moves all tensors of the files to the directory, under their canonical names.
ss1_status collect(model_directory &directory) {
    size_t count = 0;
    for (const safetensors_file &file : directory.files) count += file.header.tensors.size();
    directory.tensors.reserve(count);
    for (size_t i = 0; i < directory.files.size(); ++i) {
        std::vector<tensor_info> tensors = std::move(directory.files[i].header.tensors);
        for (tensor_info &tensor : tensors) {
            std::string name = canonical_name(directory.config, tensor.name);
            directory.tensors.push_back({std::move(name), std::move(tensor), i});
        }
    }
    directory.sort();
    const auto twice =
        std::adjacent_find(directory.tensors.begin(), directory.tensors.end(),
                           [](const model_tensor &a, const model_tensor &b) { return a.name == b.name; });
    if (twice == directory.tensors.end()) return SS1_OK;
    const model_tensor &other = *std::next(twice);
    return fail(SS1_ERROR_FORMAT, "%s: tensor '%s' exists twice: '%s' in %s and '%s' in %s", directory.path.c_str(),
                printable(twice->name).c_str(), printable(twice->stored.name).c_str(),
                directory.files[twice->file].file.path.c_str(), printable(other.stored.name).c_str(),
                directory.files[other.file].file.path.c_str());
}

// Pickled weights are programs; ss1 does not run them.
ss1_status refuse_pickles(const std::string &folder) {
    for (const char *name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
        const std::string path = folder + "/" + name;
        SS1_CHECK(!file_exists(path), SS1_ERROR_UNSUPPORTED,
                  "%s: weights are read from %s or its shards, not from pickles: save_pretrained() of transformers "
                  "4.35 or later writes them",
                  path.c_str(), single_file);
    }
    return SS1_OK;
}

ss1_status open_shards(model_directory &directory, const std::string &index) {
    std::string text;
    SS1_TRY(file_read_text(index, max_text_bytes, text));
    std::map<std::string, std::string> shard_of;
    SS1_TRY(model_index_parse(text, index.c_str(), shard_of));
    std::set<std::string> shards;
    for (const auto &[tensor, shard] : shard_of) shards.insert(shard);
    SS1_CHECK(shards.size() <= max_shards, SS1_ERROR_UNSUPPORTED, "%s: %zu shards, the limit is %zu", index.c_str(),
              shards.size(), max_shards);
    size_t found = 0;
    for (const std::string &shard : shards) {
        safetensors_file &file = directory.files.emplace_back();
        SS1_TRY(safetensors_open(directory.path + "/" + shard, file));
        for (const tensor_info &tensor : file.header.tensors) {
            const auto listed = shard_of.find(tensor.name);
            SS1_CHECK(listed != shard_of.end() && listed->second == shard, SS1_ERROR_FORMAT,
                      "%s: holds tensor '%s', which the index %s", file.file.path.c_str(),
                      printable(tensor.name).c_str(),
                      listed == shard_of.end() ? "does not list" : "places in another shard");
            ++found;
        }
    }
    if (found == shard_of.size()) return SS1_OK;
    for (size_t i = 0; const std::string &shard : shards) {
        const safetensors_header &header = directory.files[i++].header;
        for (const auto &[tensor, place] : shard_of) {
            SS1_CHECK(place != shard || header.find(tensor), SS1_ERROR_FORMAT, "%s: tensor '%s' is not in %s",
                      index.c_str(), printable(tensor).c_str(), shard.c_str());
        }
    }
    return SS1_OK;
}

// Adds the tensors of the modules behind the transformer.
ss1_status open_modules(const std::string &path, model_directory &directory) {
    for (const sentence_module &module : directory.config.sentence.modules) {
        if (!module.has_tensors()) continue;
        const std::string folder = path + "/" + module.folder;
        if (!file_exists(folder + "/" + single_file)) SS1_TRY(refuse_pickles(folder));
        safetensors_file &file = directory.files.emplace_back();
        SS1_TRY(safetensors_open(folder + "/" + single_file, file));
        for (const tensor_info &tensor : file.header.tensors) {
            model_tensor &added = directory.tensors.emplace_back();
            added.name = module.folder + "." + tensor.name;
            added.stored = tensor;
            added.stored.name = added.name;  // messages tell the folder
            added.file = directory.files.size() - 1;
            added.of_module = true;
        }
    }
    directory.sort();
    return SS1_OK;
}

// Lists the tensors that a file would hold. If config.json names no architecture, BERT gets its pooler but no
// classifier. Each has less than half of the address space, so that further products with its sizes do not overflow.
ss1_status list_random_tensors(model_directory &directory) {
    for (tensor_spec &spec : model_tensors(directory.config)) {
        if (spec.optional && spec.layer == "classifier") continue;
        size_t bytes;
        SS1_CHECK(checked_bytes(spec.shape, sizeof(float), bytes) && bytes <= PTRDIFF_MAX / 2, SS1_ERROR_FORMAT,
                  "%s/config.json: tensor '%s': the size of shape %s overflows", directory.path.c_str(),
                  printable(spec.name).c_str(), shape_text(spec.shape).c_str());
        model_tensor &tensor = directory.tensors.emplace_back();
        tensor.stored.name = stored_name(directory.config, spec.name);
        tensor.name = std::move(spec.name);
        tensor.stored.shape = std::move(spec.shape);
        if (spec.quantised) tensor.stored.dtype = file_dtype::u8;
    }
    directory.sort();
    return SS1_OK;
}

// The folder that a message names in front of a tensor: that of a module has the module's folder in its own name.
const char *place_of(const model_directory &directory, std::string_view tensor) {
    for (const sentence_module &module : directory.config.sentence.modules)
        if (module.has_tensors() && tensor.starts_with(module.folder + '.'))
            return directory.config.sentence.root.c_str();
    return directory.path.c_str();
}

ss1_status check_dtype(const model_directory &directory, const model_tensor &tensor, bool quantised) {
    const file_dtype dtype = tensor.stored.dtype;
    if (quantised) {
        SS1_CHECK(dtype == file_dtype::u8, SS1_ERROR_FORMAT,
                  "%s: tensor '%s' has dtype %s, rows of an int8 or int4 table must be U8 (ss1 convert --tables)",
                  place_of(directory, tensor.name), printable(tensor.stored.name).c_str(), file_dtype_name(dtype));
        return SS1_OK;
    }
    SS1_CHECK(dtype == file_dtype::f32 || dtype == file_dtype::f16 || dtype == file_dtype::bf16, SS1_ERROR_FORMAT,
              "%s: tensor '%s' has dtype %s, must be F32, F16 or BF16", place_of(directory, tensor.name),
              printable(tensor.stored.name).c_str(), file_dtype_name(dtype));
    return SS1_OK;
}

ss1_status check_shape(const model_directory &directory, std::string_view name, std::span<const size_t> shape,
                       const model_tensor *&out, bool quantised = false) {
    const model_tensor *tensor = directory.find(name);
    SS1_CHECK(tensor, SS1_ERROR_FORMAT, "%s: tensor '%s' is missing", place_of(directory, name),
              printable(stored_name(directory.config, name)).c_str());
    const tensor_info &stored = tensor->stored;
    SS1_TRY(check_dtype(directory, *tensor, quantised));
    SS1_CHECK(std::equal(shape.begin(), shape.end(), stored.shape.begin(), stored.shape.end()), SS1_ERROR_FORMAT,
              "%s: tensor '%s' has shape %s, must be %s", place_of(directory, name), printable(stored.name).c_str(),
              printable(shape_text(stored.shape)).c_str(), shape_text(shape).c_str());
    out = tensor;
    return SS1_OK;
}

ss1_status check_finite(const model_directory &directory, const model_tensor &tensor, size_t first,
                        std::span<const float> values) {
    for (size_t i = 0; i < values.size(); ++i) {
        SS1_CHECK(std::isfinite(values[i]), SS1_ERROR_FORMAT,
                  "%s: tensor '%s' has %g at element %zu, values must be finite", place_of(directory, tensor.name),
                  printable(tensor.stored.name).c_str(), static_cast<double>(values[i]), first + i);
    }
    return SS1_OK;
}

ss1_status read_chunk(const model_directory &directory, const model_tensor &tensor, size_t first,
                      std::span<float> out) {
    const safetensors_file &file = directory.files[tensor.file];
    if (tensor.stored.dtype == file_dtype::f32) {
        return safetensors_read(file, tensor.stored, first * sizeof(float), std::as_writable_bytes(out));
    }
    std::array<uint16_t, chunk> half;
    const std::span<uint16_t> used(half.data(), out.size());
    SS1_TRY(safetensors_read(file, tensor.stored, first * sizeof(uint16_t), std::as_writable_bytes(used)));
    std::transform(used.begin(), used.end(), out.begin(),
                   tensor.stored.dtype == file_dtype::f16 ? f16_to_f32 : bf16_to_f32);
    return SS1_OK;
}

}  // namespace

std::string canonical_name(const model_config &config, std::string_view name) {
    if (name.starts_with("module.")) name.remove_prefix(7);
    return config.family->canonical_name(config, name);
}

std::string stored_name(const model_config &config, std::string_view name) {
    return config.family->stored_name(config, name);
}

const model_tensor *model_directory::find(std::string_view name) const noexcept {
    const auto found = std::lower_bound(tensors.begin(), tensors.end(), name,
                                        [](const model_tensor &a, std::string_view b) { return a.name < b; });
    return found != tensors.end() && found->name == name ? &*found : nullptr;
}

void model_directory::sort() {
    std::sort(tensors.begin(), tensors.end(),
              [](const model_tensor &a, const model_tensor &b) { return a.name < b.name; });
}

ss1_status model_index_parse(std::string_view text, const char *label, std::map<std::string, std::string> &out) {
    json_document document;
    SS1_TRY(json_parse(text, label, {}, document));
    const json &root = document.root();
    SS1_TRY(json_is_object(root, label));
    const json *weight_map;
    SS1_TRY(json_member(root, label, "weight_map", key::required, weight_map));
    const std::string where = std::string(label) + ": weight_map";
    SS1_TRY(json_is_object(*weight_map, where));
    SS1_CHECK(weight_map->size() > 0, SS1_ERROR_FORMAT, "%s: lists no tensor", where.c_str());
    for (const json &shard : *weight_map) {
        const std::string_view tensor = shard.key();
        SS1_CHECK(is_name(tensor), SS1_ERROR_FORMAT,
                  "%s: tensor '%s': a name has 1 to 512 bytes and no control characters", where.c_str(),
                  printable(tensor).c_str());
        SS1_CHECK(shard.is_string(), SS1_ERROR_FORMAT, "%s: '%s' is of type %s, must be a string", where.c_str(),
                  printable(tensor).c_str(), shard.type_name());
        SS1_TRY(check_shard_name(shard.string(), where));
        out.emplace(tensor, shard.string());
    }
    return SS1_OK;
}

ss1_status model_directory_open(const std::string &path, const ss1_model_options &options, model_directory &out) {
    model_directory directory;
    directory.path = path;
    directory.random = options.random_weights != 0;
    directory.seed = options.seed;
    directory.weight_dtype = options.weight_dtype;
    directory.map_tables = options.map_tables != 0;
    sentence_config sentence;
    SS1_TRY(sentence_config_read(path, sentence));
    if (!sentence.folder.empty()) directory.path += "/" + sentence.folder;
    const std::string config = directory.path + "/config.json", single = directory.path + "/" + single_file,
                      index = directory.path + "/" + index_file;
    std::string text;
    if (sentence.is_static)
        text = R"({"model_type": "model2vec"})";
    else
        SS1_TRY(file_read_text(config, max_text_bytes, text));
    SS1_TRY(model_config_parse(text, config.c_str(), directory.config, std::move(sentence)));
    const bool maps = directory.map_tables && directory.config.family->has_tables;
    SS1_CHECK(!maps || !directory.random, SS1_ERROR_INVALID_ARGUMENT,
              "options.map_tables: random weights have no file to map");
    if (directory.random) {
        SS1_TRY(list_random_tensors(directory));
    } else {
        if (!file_exists(single) && file_exists(index)) {
            SS1_TRY(open_shards(directory, index));
        } else {
            if (!file_exists(single)) SS1_TRY(refuse_pickles(directory.path));
            SS1_TRY(safetensors_open(single, directory.files.emplace_back()));
        }
        SS1_TRY(collect(directory));
        directory.config.family->share_tensors(directory);
        SS1_TRY(open_modules(path, directory));
    }
    out = std::move(directory);
    return SS1_OK;
}

ss1_status model_directory_check(const model_directory &directory, const layer_configs &except) {
    const std::vector<tensor_spec> specs = model_tensors(directory.config);
    std::set<std::string> present;  // layers with at least one tensor
    for (const tensor_spec &spec : specs) {
        if (directory.find(spec.name)) present.insert(spec.layer);
    }
    for (const tensor_spec &spec : specs) {
        const model_tensor *tensor;
        if (spec.optional && !present.contains(spec.layer)) continue;
        if (except.contains(spec.layer) && spec.name.ends_with("weight")) continue;
        SS1_TRY(check_shape(directory, spec.name, spec.shape, tensor, spec.quantised));
    }
    for (const auto &[name, layer] : directory.config.layers) {
        SS1_CHECK(directory.config.has_weight(name) || !directory.find(name + ".weight"), SS1_ERROR_FORMAT,
                  "%s: tensor '%s.weight' must be absent: config.json stores the layer as %s", directory.path.c_str(),
                  name.c_str(), layer.tied ? "ss1_weight" : "low_rank_up and low_rank_down");
    }
    for (const model_tensor &tensor : directory.tensors) {
        const std::string_view name = tensor.name;
        const std::string layer(name.substr(0, name.rfind('.')));
        SS1_CHECK(!name.ends_with(".ss1_weight") || directory.config.is_tied(layer), SS1_ERROR_FORMAT,
                  "%s: tensor '%s' has no entry in ss1.layers of config.json", directory.path.c_str(),
                  printable(tensor.name).c_str());
        SS1_CHECK(
            (!name.ends_with(".low_rank_up") && !name.ends_with(".low_rank_down")) || directory.config.rank(layer),
            SS1_ERROR_FORMAT, "%s: tensor '%s' has no rank in ss1.layers of config.json", directory.path.c_str(),
            printable(tensor.name).c_str());
    }
    return SS1_OK;
}

void random_weights(uint64_t seed, std::string_view name, size_t first, std::span<float> out) noexcept {
    if (name.ends_with("LayerNorm.weight") || name.ends_with("LayerNorm.bias")) {
        std::fill(out.begin(), out.end(), name.ends_with("weight") ? 1.0f : 0.0f);
        return;
    }
    const uint64_t stream = splitmix64(seed) ^ fnv1a(name);
    // Box-Muller: draws 2p and 2p + 1 give elements 2p (cosine) and 2p + 1 (sine).
    for (size_t i = 0; i < out.size();) {
        const uint64_t pair = (first + i) & ~uint64_t{1};
        const double radius = 0.02 * std::sqrt(-2 * std::log(uniform(splitmix64(stream + pair))));
        const double angle = 2 * std::numbers::pi * uniform(splitmix64(stream + pair + 1));
        if ((first + i) % 2 == 0) out[i++] = static_cast<float>(radius * std::cos(angle));
        if (i < out.size()) out[i++] = static_cast<float>(radius * std::sin(angle));
    }
}

ss1_status tensor_f32(const model_directory &directory, std::string_view name, std::span<const size_t> shape,
                      float *out) {
    const model_tensor *tensor;
    SS1_TRY(check_shape(directory, name, shape, tensor));
    size_t bytes;
    SS1_CHECK(checked_bytes(shape, sizeof(float), bytes), SS1_ERROR_FORMAT,
              "%s: tensor '%s': the size of shape %s overflows", directory.path.c_str(), printable(name).c_str(),
              shape_text(shape).c_str());
    return tensor_f32_part(directory, *tensor, 0, std::span(out, bytes / sizeof(float)));
}

ss1_status tensor_f32_part(const model_directory &directory, const model_tensor &tensor, size_t first,
                           std::span<float> out) {
    if (directory.random) {
        random_weights(directory.seed, tensor.name, first, out);
        return SS1_OK;
    }
    for (size_t done = 0; done < out.size(); done += chunk) {
        const std::span<float> part = out.subspan(done, std::min(chunk, out.size() - done));
        SS1_TRY(read_chunk(directory, tensor, first + done, part));
        SS1_TRY(check_finite(directory, tensor, first + done, part));
    }
    return SS1_OK;
}

ss1_status tensor_f32(const ss1_context &context, const model_directory &directory, std::string_view name,
                      std::span<const size_t> shape, buffer &out) {
    size_t bytes;
    const model_tensor *tensor;
    SS1_TRY(check_shape(directory, name, shape, tensor));
    SS1_CHECK(checked_bytes(shape, sizeof(float), bytes), SS1_ERROR_FORMAT,
              "%s: tensor '%s': the size of shape %s overflows", directory.path.c_str(), printable(name).c_str(),
              shape_text(shape).c_str());
    buffer fresh;
    SS1_TRY(fresh.allocate(context, bytes));
    SS1_TRY(tensor_f32(directory, name, shape, fresh.as<float>()));
    out = std::move(fresh);
    return SS1_OK;
}

}  // namespace ss1
