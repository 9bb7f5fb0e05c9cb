// SPDX-License-Identifier: Apache-2.0
// Helpers for the file tests: temporary folders, files byte by byte, small models.
#pragma once
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "io/model_directory.hpp"
#include "io/safetensors.hpp"

namespace io_support {

struct temporary_folder {
    temporary_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "ss1-io-XXXXXX").string();
        if (!mkdtemp(name.data())) std::abort();
        path = name;
    }
    temporary_folder(const temporary_folder &) = delete;
    temporary_folder &operator=(const temporary_folder &) = delete;
    ~temporary_folder() { std::filesystem::remove_all(path); }
    std::string operator/(const std::string &name) const { return path + "/" + name; }
    std::string path;
};

inline void write_file(const std::string &path, const std::string &content) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

inline std::string read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string little_endian(uint64_t value) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &value, 8);
    return bytes;
}

// Builds a safetensors file from its parts, valid or not.
inline std::string safetensors_bytes(const std::string &header, const std::string &data) {
    return little_endian(header.size()) + header + data;
}

template <class T>
std::string bytes_of(const std::vector<T> &values) {
    return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

inline ss1::tensor_to_write tensor(std::string name, ss1::file_dtype dtype, std::vector<size_t> shape,
                                   std::string bytes) {
    return {std::move(name), dtype, std::move(shape), [bytes = std::move(bytes)](ss1::output_file &file) {
                return ss1::file_write(file, std::as_bytes(std::span(bytes)));
            }};
}

inline const char *dlrm_json = R"({"model_type": "dlrm", "dense_features": ["age", "clicks"], "embedding_dim": 16,
  "tables": [{"name": "user", "rows": 3}, {"name": "item", "rows": 5}],
  "bottom_mlp": [2, 64, 16], "top_mlp": [64, 1]})";

inline const char *dlrm_tied_json = R"({"model_type": "dlrm", "dense_features": ["age", "clicks"], "embedding_dim": 16,
  "tables": [{"name": "user", "rows": 3}, {"name": "item", "rows": 5}],
  "bottom_mlp": [2, 64, 16], "top_mlp": [64, 1],
  "ss1": {"layers": {"bot_l.2": {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 7, "block_k": 16, "block_n": 16, "step": 16}}}})";

inline const char *bert_json = R"({"model_type": "bert", "vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8})";

inline const char *distilbert_json = R"({"model_type": "distilbert", "vocab_size": 10, "dim": 32, "n_layers": 1,
  "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 8, "architectures": ["DistilBertModel"]})";

inline const char *roberta_json = R"({"model_type": "roberta", "vocab_size": 10, "hidden_size": 32,
  "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 10,
  "type_vocab_size": 1, "architectures": ["RobertaForSequenceClassification"]})";

inline const char *electra_json = R"({"model_type": "electra", "vocab_size": 10, "embedding_size": 16,
  "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
  "max_position_embeddings": 8, "architectures": ["ElectraForPreTraining"]})";

inline const char *mpnet_json = R"({"model_type": "mpnet", "vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 10,
  "architectures": ["MPNetForSequenceClassification"]})";

inline const char *albert_json = R"({"model_type": "albert", "vocab_size": 10, "embedding_size": 16, "hidden_size": 32,
  "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8,
  "architectures": ["AlbertForMaskedLM"]})";

inline const char *modernbert_json = R"({"model_type": "modernbert", "vocab_size": 10, "hidden_size": 32,
  "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8,
  "architectures": ["ModernBertForMaskedLM"]})";

inline const char *nomic_json =
    R"({"model_type": "nomic_bert", "vocab_size": 10, "n_embd": 32, "n_layer": 1, "n_head": 2,
  "n_inner": 64, "n_positions": 8, "activation_function": "swiglu", "rotary_emb_fraction": 1.0,
  "architectures": ["NomicBertForMaskedLM"]})";

inline const char *nomic_hf_json = R"({"model_type": "nomic_bert", "vocab_size": 10, "hidden_size": 32,
  "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8,
  "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}, "architectures": ["NomicBertForMaskedLM"]})";

inline const char *gte_json = R"({"model_type": "new", "vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8,
  "architectures": ["NewForMaskedLM"]})";

inline const char *deberta_json = R"({"model_type": "deberta-v2", "vocab_size": 10, "hidden_size": 32,
  "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8,
  "relative_attention": true, "position_buckets": 4, "pos_att_type": "p2c|c2p", "share_att_key": true,
  "norm_rel_ebd": "layer_norm", "position_biased_input": false,
  "architectures": ["DebertaV2ForSequenceClassification"]})";

inline const char *words_json = R"({"model_type": "bert", "vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8,
  "architectures": ["BertForMaskedLM"]})";

using edit_tensors = std::function<void(std::vector<ss1::tensor_to_write> &)>;

// Draws all tensors of `config` by name, edits them, and writes them with config.json to `folder`.
inline ss1_status write_model(const std::string &folder, const std::string &config, const edit_tensors &edit = {}) {
    std::filesystem::create_directories(folder);
    write_file(folder + "/config.json", config);
    ss1::model_config parsed;
    SS1_TRY(ss1::model_config_parse(config, "config.json", parsed));
    std::vector<ss1::tensor_to_write> tensors;
    for (const ss1::tensor_spec &spec : ss1::model_tensors(parsed)) {
        size_t n = 1;
        for (const size_t width : spec.shape) n *= width;
        if (spec.quantised) {  // all values 0
            tensors.push_back(tensor(spec.name, ss1::file_dtype::u8, spec.shape, std::string(n, '\0')));
            continue;
        }
        std::vector<float> values(n);
        ss1::random_weights(1, spec.name, 0, values);
        tensors.push_back(tensor(spec.name, ss1::file_dtype::f32, spec.shape, bytes_of(values)));
    }
    if (edit) edit(tensors);
    return ss1::safetensors_write(folder + "/model.safetensors", tensors, {});
}

inline ss1::tensor_to_write &find(std::vector<ss1::tensor_to_write> &tensors, const std::string &name) {
    for (ss1::tensor_to_write &tensor : tensors) {
        if (tensor.name == name) return tensor;
    }
    std::abort();
}

// Opens and checks a model as ss1_model_load() does before it reads tensors.
inline ss1_status open_model(const std::string &folder, ss1::model_directory &out, bool random = false,
                             uint64_t seed = 0) {
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = random;
    options.seed = seed;
    SS1_TRY(ss1::model_directory_open(folder, options, out));
    return ss1::model_directory_check(out);
}

inline ss1_status open_model(const std::string &folder) {
    ss1::model_directory directory;
    return open_model(folder, directory);
}

inline std::vector<float> values_of(const ss1::model_directory &directory, const std::string &name) {
    const ss1::model_tensor *found = directory.find(name);
    if (!found) return {};
    size_t n = 1;
    for (const size_t width : found->stored.shape) n *= width;
    std::vector<float> values(n);
    return ss1::tensor_f32(directory, name, found->stored.shape, values.data()) == SS1_OK ? values
                                                                                          : std::vector<float>{};
}

// ss1_convert_options with the structs to which they point.
struct conversion {
    ss1_convert_from from = SS1_CONVERT_FROM_DENSE;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    const char *layers = nullptr;
    ss1_model_options load = SS1_MODEL_OPTIONS_INIT;
    ss1_table_dtype tables = SS1_TABLE_DEFAULT;
    size_t min_rows = 0;
    double share = 0;

    operator ss1_convert_options() const {
        ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
        options.from = from;
        options.tables = tables;
        options.desc = &desc;
        options.layers = layers;
        options.load = &load;
        options.min_rows = min_rows;
        options.share = share;
        return options;
    }
};

}  // namespace io_support
