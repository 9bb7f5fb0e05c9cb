// SPDX-License-Identifier: Apache-2.0
// A model directory: config.json and the tensors under their canonical names, in whichever files they are stored.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"
#include "io/model_config.hpp"
#include "io/safetensors.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// Returns the canonical name of a tensor: without `.module.`, and for BERT and its relatives as in bert_names.hpp.
std::string canonical_name(const model_config &config, std::string_view name);
// Returns the name of a tensor in a file of the family's own framework.
std::string stored_name(const model_config &config, std::string_view name);

struct model_tensor {
    std::string name;        // canonical
    tensor_info stored;      // as in the file; with random weights only name, dtype and shape are valid
    size_t file = 0;         // index into model_directory::files
    std::string source{};    // no file has this name: `stored` belongs to the tensor with this one; "": it has
    bool of_module = false;  // in the file of a module of sentence-transformers, not among the transformer's
};

struct model_directory {
    std::string path;  // of config.json
    model_config config;
    std::vector<safetensors_file> files;  // none with random weights
    std::vector<model_tensor> tensors;    // sorted by name
    bool random = false;
    uint64_t seed = 0;
    ss1_dtype weight_dtype = SS1_DTYPE_DEFAULT;  // overrides the type of every linear layer in config.json
    bool map_tables = false;

    const model_tensor *find(std::string_view name) const noexcept;
    void sort();  // call it after names have changed
};

// Opens a directory and checks all headers and names; reads no tensor yet.
ss1_status model_directory_open(const std::string &path, const ss1_model_options &options, model_directory &out);

// Checks that every tensor that the configuration needs exists with the right shape, and that each layer is stored as
// tied or dense as config.json says. Skips the weights of the layers in `except`.
ss1_status model_directory_check(const model_directory &directory, const layer_configs &except = {});

// Parses model.safetensors.index.json into tensor -> shard pairs; shards are plain file names.
ss1_status model_index_parse(std::string_view text, const char *label, std::map<std::string, std::string> &out);

// Reads a tensor as f32 (converting f16 and bf16) into out[0 .. product of shape), or into memory of `context`. A
// missing tensor, another dtype or shape, NaN and infinity are SS1_ERROR_FORMAT, with tensor, found and expected value
// in the message.
ss1_status tensor_f32(const model_directory &directory, std::string_view name, std::span<const size_t> shape,
                      float *out);
ss1_status tensor_f32(const ss1_context &context, const model_directory &directory, std::string_view name,
                      std::span<const size_t> shape, buffer &out);

// Reads (and checks) or draws elements [first, first + out.size()) of a tensor that is not a table of bytes.
ss1_status tensor_f32_part(const model_directory &directory, const model_tensor &tensor, size_t first,
                           std::span<float> out);

// Draws elements [first, first + n) of the random tensor `name`; they depend only on seed, name and position.
void random_weights(uint64_t seed, std::string_view name, size_t first, std::span<float> out) noexcept;

}  // namespace ss1
