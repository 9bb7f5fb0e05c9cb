// SPDX-License-Identifier: Apache-2.0
#include "io/sentence_config.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/status.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/limits.hpp"

namespace ss1 {
namespace {

constexpr size_t max_text_bytes = size_t{16} << 20;
constexpr size_t max_modules = 100;

// A parsed file that is one object.
struct object_file {
    std::string path;
    json_document document;
    json root = document.root();  // null stands for the default, as in all files of Hugging Face

    ss1_status read(const std::string &from) {
        path = from;
        std::string text;
        SS1_TRY(file_read_text(path, max_text_bytes, text));
        SS1_TRY(json_parse(text, path.c_str(), {}, document));
        root = document.root().without_nulls();
        return json_is_object(root, path);
    }

    ss1_status size(const char *name, size_t &out) const {
        return json_size(root, path, name, key::optional, 1, max_width, out);
    }
    ss1_status flag(const char *name, bool &out) const { return json_bool(root, path, name, key::optional, out); }
    ss1_status text(const char *name, std::string &out) const {
        return json_string(root, path, name, key::optional, out);
    }
};

// "sentence_transformers.models.Pooling" -> "Pooling": the packages in front of the name have changed over the years.
std::string_view last_part(std::string_view path) noexcept {
    return path.substr(path.rfind('.') + 1);
}

struct mode_names {
    const char *name, *old_key;
    pooling_mode mode;
};
// In the order in which files with the old keys concatenate.
constexpr std::array<mode_names, 6> modes{
    {{"cls", "pooling_mode_cls_token", pooling_mode::cls},
     {"max", "pooling_mode_max_tokens", pooling_mode::max},
     {"mean", "pooling_mode_mean_tokens", pooling_mode::mean},
     {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", pooling_mode::mean_sqrt_len},
     {"weightedmean", "pooling_mode_weightedmean_tokens", pooling_mode::weighted_mean},
     {"lasttoken", "pooling_mode_lasttoken", pooling_mode::last}}};

ss1_status add_mode(const json &value, const std::string &where, std::vector<pooling_mode> &out) {
    SS1_CHECK(value.is_string(), SS1_ERROR_FORMAT, "%s: must be a name or an array of names", where.c_str());
    const std::string_view name = value.string();
    const auto known = std::ranges::find_if(modes, [&](const mode_names &mode) { return name == mode.name; });
    SS1_CHECK(known != modes.end(), SS1_ERROR_UNSUPPORTED,
              "%s '%s' is not supported, 'cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean' and 'lasttoken' "
              "are",
              where.c_str(), printable(name).c_str());
    out.push_back(known->mode);
    return SS1_OK;
}

ss1_status read_pooling(const std::string &folder, sentence_config &out) {
    object_file file;
    SS1_TRY(file.read(folder + "/config.json"));
    SS1_TRY(file.size("word_embedding_dimension", out.pooled_width));
    SS1_TRY(file.size("embedding_dimension", out.pooled_width));
    SS1_TRY(file.flag("include_prompt", out.include_prompt));
    if (const json *value = file.root.find("pooling_mode")) {
        const std::string where = file.path + ": pooling_mode";
        if (!value->is_array()) return add_mode(*value, where, out.pooling);
        SS1_CHECK(value->size() <= modes.size(), SS1_ERROR_FORMAT, "%s: has %zu names, must have at most %zu",
                  where.c_str(), value->size(), modes.size());
        for (const json &mode : *value) SS1_TRY(add_mode(mode, where, out.pooling));
    } else {
        for (const mode_names &mode : modes) {
            bool active = false;
            SS1_TRY(file.flag(mode.old_key, active));
            if (active) out.pooling.push_back(mode.mode);
        }
    }
    if (out.pooling.empty()) out.pooling.push_back(pooling_mode::mean);
    return SS1_OK;
}

}  // namespace

ss1_status module_activation(std::string_view path, const std::string &where, ss1_activation &out) {
    struct row {
        std::string_view name;
        ss1_activation activation;
    };
    static constexpr std::array<row, 6> rows{{{"Identity", SS1_ACTIVATION_NONE},
                                              {"Tanh", SS1_ACTIVATION_TANH},
                                              {"ReLU", SS1_ACTIVATION_RELU},
                                              {"GELU", SS1_ACTIVATION_GELU},
                                              {"Sigmoid", SS1_ACTIVATION_SIGMOID},
                                              {"SiLU", SS1_ACTIVATION_SILU}}};
    const auto known = std::ranges::find(rows, last_part(path), &row::name);
    SS1_CHECK(known != rows.end() && path.starts_with("torch."), SS1_ERROR_UNSUPPORTED,
              "%s '%s' is not supported, torch.nn's Identity, Tanh, ReLU, GELU, Sigmoid and SiLU are", where.c_str(),
              printable(path).c_str());
    out = known->activation;
    return SS1_OK;
}

namespace {

ss1_status read_splade(const std::string &folder, sentence_config &out) {
    object_file file;
    std::string strategy = "max", activation = "relu";
    SS1_TRY(file.read(folder + "/config.json"));
    SS1_TRY(file.text("pooling_strategy", strategy));
    SS1_TRY(file.text("activation_function", activation));
    SS1_CHECK(strategy == "max" || strategy == "sum", SS1_ERROR_UNSUPPORTED,
              "%s: pooling_strategy '%s' is not supported, 'max' and 'sum' are", file.path.c_str(),
              printable(strategy).c_str());
    SS1_CHECK(activation == "relu" || activation == "log1p_relu", SS1_ERROR_UNSUPPORTED,
              "%s: activation_function '%s' is not supported, 'relu' and 'log1p_relu' are", file.path.c_str(),
              printable(activation).c_str());
    out.words = strategy == "max" ? word_pooling::max : word_pooling::sum;
    out.log1p_twice = activation == "log1p_relu";
    out.similarity = "dot";  // SparseEncoder's default
    SS1_TRY(file.size("word_embedding_dimension", out.pooled_width));
    return file.size("embedding_dimension", out.pooled_width);
}

// Checks that a member, if it is there, is the text that stands for what is computed.
ss1_status check_name(const json &object, const std::string &where, const char *name, std::string_view supported) {
    std::string value(supported);
    SS1_TRY(json_string(object, where, name, key::optional, value));
    SS1_CHECK(value == supported, SS1_ERROR_UNSUPPORTED, "%s: %s '%s' is not supported, '%s' is", where.c_str(), name,
              printable(value).c_str(), std::string(supported).c_str());
    return SS1_OK;
}

// Checks that a module turns the sentence embedding into another one.
ss1_status check_embedding_names(const object_file &file) {
    for (const char *name : {"module_input_name", "module_output_name"})
        SS1_TRY(check_name(file.root, file.path, name, "sentence_embedding"));
    return SS1_OK;
}

ss1_status read_dense(const std::string &folder, sentence_module &out) {
    object_file file;
    SS1_TRY(file.read(folder + "/config.json"));
    SS1_TRY(json_size(file.root, file.path, "in_features", key::required, 1, max_width, out.in));
    SS1_TRY(json_size(file.root, file.path, "out_features", key::required, 1, max_width, out.out));
    SS1_TRY(file.flag("bias", out.has_bias));
    std::string activation = "torch.nn.Tanh";
    SS1_TRY(file.text("activation_function", activation));
    SS1_TRY(module_activation(activation, file.path + ": activation_function", out.activation));
    bool residual = false;
    SS1_TRY(file.flag("use_residual", residual));
    SS1_CHECK(!residual, SS1_ERROR_UNSUPPORTED, "%s: use_residual true is not supported", file.path.c_str());
    return check_embedding_names(file);
}

// Older versions write no file for Normalize. In the directory itself, config.json is the transformer's.
ss1_status read_normalize(const std::string &folder) {
    const std::string path = folder + "/config.json";
    if (!file_exists(path)) return SS1_OK;
    object_file file;
    SS1_TRY(file.read(path));
    return check_embedding_names(file);
}

ss1_status read_layer_norm(const std::string &folder, sentence_module &out) {
    object_file file;
    SS1_TRY(file.read(folder + "/config.json"));
    SS1_TRY(json_size(file.root, file.path, "dimension", key::required, 1, max_width, out.out));
    out.in = out.out;
    return SS1_OK;
}

// What the transformer has to give to the module behind it: its names in the files of sentence-transformers 6.
struct transformer_use {
    std::string_view task, output, module_output;
};

constexpr transformer_use of_hidden_states = {"feature-extraction", "last_hidden_state", "token_embeddings"},
                          of_words = {"fill-mask", "logits", "token_embeddings"},
                          of_scores = {"sequence-classification", "logits", "scores"};

// Checks that texts run through forward() alone, which gives the output that is read.
ss1_status check_modalities(const object_file &file, const transformer_use &use) {
    const json *modalities = file.root.find("modality_config");
    if (!modalities) return SS1_OK;
    const std::string where = file.path + ": modality_config";
    SS1_TRY(json_is_object(*modalities, where));
    for (const json &modality : *modalities) {
        SS1_CHECK(modality.key() == "text", SS1_ERROR_UNSUPPORTED, "%s: '%s' is not supported, 'text' is",
                  where.c_str(), printable(modality.key()).c_str());
        SS1_TRY(json_is_object(modality, where + ": text"));
        SS1_TRY(check_name(modality, where + ": text", "method", "forward"));
        SS1_TRY(check_name(modality, where + ": text", "method_output_name", use.output));
    }
    return SS1_OK;
}

// Arguments for calls of Python code: nothing of them is read.
ss1_status check_no_arguments(const object_file &file, const char *name) {
    const json *arguments = file.root.find(name);
    if (!arguments || arguments->is_null()) return SS1_OK;
    SS1_TRY(json_is_object(*arguments, file.path + ": " + name));
    for (const json &argument : *arguments)
        SS1_CHECK(argument.is_object() && argument.size() == 0, SS1_ERROR_UNSUPPORTED, "%s: %s: '%s' is not supported",
                  file.path.c_str(), name, printable(argument.key()).c_str());
    return SS1_OK;
}

// Reads how the transformer's module, whose class is `type`, treats texts, and checks that it gives what the modules
// behind it take. The file had the model type in its name before version 0.4.
ss1_status read_transformer(const std::string &folder, std::string_view type, sentence_config &out) {
    constexpr const char *names[] = {"sentence_bert_config.json",       "sentence_roberta_config.json",
                                     "sentence_distilbert_config.json", "sentence_camembert_config.json",
                                     "sentence_albert_config.json",     "sentence_xlm-roberta_config.json",
                                     "sentence_xlnet_config.json"};
    const auto name = std::ranges::find_if(names, [&](const char *n) { return file_exists(folder + "/" + n); });
    object_file file;
    std::string task(type == "MLMTransformer" ? of_words.task : of_hidden_states.task);
    if (name != std::end(names)) {
        SS1_TRY(file.read(folder + "/" + *name));
        SS1_TRY(file.text("transformer_task", task));
    }
    const bool scores = !out.pools() && task == of_scores.task;
    const transformer_use &use = out.words != word_pooling::none ? of_words : scores ? of_scores : of_hidden_states;
    SS1_CHECK(task == use.task, SS1_ERROR_UNSUPPORTED,
              "%s: transformer_task '%s' is not supported in front of these modules, '%s' is",
              file.path.empty() ? folder.c_str() : file.path.c_str(), printable(task).c_str(),
              std::string(use.task).c_str());
    if (name == std::end(names)) return SS1_OK;
    SS1_TRY(check_modalities(file, use));
    SS1_TRY(check_name(file.root, file.path, "module_output_name", use.module_output));
    for (const char *arguments : {"processing_kwargs", "model_args", "tokenizer_args", "config_args", "model_kwargs",
                                  "processor_kwargs", "config_kwargs"})
        SS1_TRY(check_no_arguments(file, arguments));
    SS1_TRY(file.size("max_seq_length", out.max_tokens));
    SS1_TRY(file.flag("do_lower_case", out.lower_case));
    for (const char *unknown : {"query_length", "document_length", "query_expansion"})
        SS1_CHECK(!file.root.find(unknown), SS1_ERROR_UNSUPPORTED, "%s: %s is not supported", file.path.c_str(),
                  unknown);
    return SS1_OK;
}

ss1_status read_prompts(const object_file &file, sentence_config &out) {
    if (const json *prompts = file.root.find("prompts")) {
        const std::string where = file.path + ": prompts";
        SS1_TRY(json_is_object(*prompts, where));
        for (const json &text : *prompts) {
            if (text.is_null()) {  // no prompt
                out.prompts.push_back({std::string(text.key()), ""});
                continue;
            }
            SS1_CHECK(text.is_string(), SS1_ERROR_FORMAT, "%s: '%s' must be a string", where.c_str(),
                      printable(text.key()).c_str());
            SS1_CHECK(text.key().find('\0') == text.key().npos && text.string().find('\0') == text.string().npos,
                      SS1_ERROR_FORMAT, "%s: '%s' has U+0000 in its name or text", where.c_str(),
                      printable(text.key()).c_str());
            out.prompts.push_back({std::string(text.key()), std::string(text.string())});
        }
    }
    SS1_TRY(file.text("default_prompt_name", out.default_prompt));
    const auto named = std::ranges::find(out.prompts, out.default_prompt, &sentence_prompt::name);
    SS1_CHECK(out.default_prompt.empty() || named != out.prompts.end(), SS1_ERROR_FORMAT,
              "%s: default_prompt_name '%s' is none of the prompts", file.path.c_str(),
              printable(out.default_prompt).c_str());
    return SS1_OK;
}

// Reads what belongs to the whole directory.
ss1_status read_settings(const std::string &directory, sentence_config &out) {
    const std::string path = directory + "/config_sentence_transformers.json";
    if (!file_exists(path)) return SS1_OK;
    object_file file;
    SS1_TRY(file.read(path));
    SS1_TRY(read_prompts(file, out));
    SS1_TRY(file.size("truncate_dim", out.truncate_dim));
    SS1_TRY(file.text("activation_fn", out.score_activation));
    SS1_TRY(file.text("similarity_fn_name", out.similarity));
    constexpr std::string_view known[] = {"cosine", "dot", "euclidean", "manhattan"};
    SS1_CHECK(std::ranges::find(known, out.similarity) != std::end(known), SS1_ERROR_UNSUPPORTED,
              "%s: similarity_fn_name '%s' is not supported, 'cosine', 'dot', 'euclidean' and 'manhattan' are",
              path.c_str(), printable(out.similarity).c_str());
    return SS1_OK;
}

ss1_status check_folder(const std::string &folder, const std::string &where) {
    SS1_CHECK(folder.empty() || (is_name(folder) && folder.find("..") == folder.npos && folder.front() != '/' &&
                                 folder.find('\\') == folder.npos),
              SS1_ERROR_FORMAT, "%s: path '%s' must be a folder below the directory", where.c_str(),
              printable(folder).c_str());
    return SS1_OK;
}

// Reads module `i`, whose class is `type`.
ss1_status read_module(const std::string &directory, const std::string &folder, std::string_view type,
                       const std::string &where, size_t i, sentence_config &out) {
    const std::string path = folder.empty() ? directory : directory + "/" + folder;
    if (i == 0) {
        out.is_static = type == "StaticEmbedding";
        SS1_CHECK(type == "Transformer" || type == "MLMTransformer" || out.is_static, SS1_ERROR_UNSUPPORTED,
                  "%s: the first module '%s' is not supported, Transformer, MLMTransformer and StaticEmbedding are",
                  where.c_str(), printable(type).c_str());
        out.folder = folder;
        return SS1_OK;
    }
    if (type == "SpladePooling") {
        SS1_CHECK(i == 1, SS1_ERROR_UNSUPPORTED, "%s: SpladePooling must follow the transformer at once",
                  where.c_str());
        out.pooling_folder = folder;
        return read_splade(path, out);
    }
    if (type == "Pooling") {
        SS1_CHECK(i == 1, SS1_ERROR_UNSUPPORTED, "%s: Pooling must follow the Transformer at once", where.c_str());
        out.pooling_folder = folder;
        return read_pooling(path, out);
    }
    SS1_CHECK(out.words == word_pooling::none, SS1_ERROR_UNSUPPORTED,
              "%s: module '%s' behind SpladePooling is not supported", where.c_str(), printable(type).c_str());
    SS1_CHECK(!out.pooling.empty() || out.is_static, SS1_ERROR_UNSUPPORTED,
              "%s: module '%s' in front of the pooling is not supported", where.c_str(), printable(type).c_str());
    if (type == "Dropout") return SS1_OK;  // it does nothing but in training
    sentence_module module{.what = sentence_module::kind::normalize, .folder = folder};
    if (type == "Dense") {
        module.what = sentence_module::kind::dense;
        SS1_TRY(read_dense(path, module));
    } else if (type == "LayerNorm") {
        module.what = sentence_module::kind::layer_norm;
        SS1_TRY(read_layer_norm(path, module));
    } else {
        SS1_CHECK(type == "Normalize", SS1_ERROR_UNSUPPORTED,
                  "%s: module '%s' is not supported; Transformer, Pooling, SpladePooling, Dense, LayerNorm, Normalize "
                  "and Dropout are",
                  where.c_str(), printable(type).c_str());
        if (!folder.empty()) SS1_TRY(read_normalize(path));
    }
    SS1_CHECK(!module.has_tensors() || !folder.empty(), SS1_ERROR_FORMAT, "%s: %s needs a folder of its own",
              where.c_str(), printable(type).c_str());
    out.modules.push_back(std::move(module));
    return SS1_OK;
}

}  // namespace

ss1_status sentence_config_read(const std::string &directory, sentence_config &out) {
    const std::string path = directory + "/modules.json";
    if (!file_exists(path)) return SS1_OK;
    std::string text;
    json_document document;
    SS1_TRY(file_read_text(path, max_text_bytes, text));
    SS1_TRY(json_parse(text, path.c_str(), {}, document));
    const json &root = document.root();
    SS1_CHECK(root.is_array() && root.size() > 0 && root.size() <= max_modules, SS1_ERROR_FORMAT,
              "%s: must be an array of 1 to %zu modules", path.c_str(), max_modules);
    sentence_config config;
    config.root = directory;
    std::string transformer;  // the class of the first module
    for (size_t i = 0; const json &module : root) {
        const std::string where = path + ": module " + std::to_string(i);
        std::string type, folder;
        SS1_TRY(json_is_object(module, where));
        SS1_TRY(json_string(module, where, "type", key::required, type));
        SS1_TRY(json_string(module, where, "path", key::required, folder));
        // Names of files in memory are compared as texts.
        while (folder.starts_with("./")) folder.erase(0, 2);
        while (folder.ends_with('/')) folder.pop_back();
        if (folder == ".") folder.clear();
        SS1_TRY(check_folder(folder, where));
        if (i == 0) transformer = last_part(type);
        SS1_TRY(read_module(directory, folder, last_part(type), where, i++, config));
    }
    if (!config.is_static)
        SS1_TRY(
            read_transformer(config.folder.empty() ? directory : directory + "/" + config.folder, transformer, config));
    SS1_TRY(read_settings(directory, config));
    out = std::move(config);
    return SS1_OK;
}

ss1_status sentence_check_widths(const sentence_config &config, size_t width, size_t &size) {
    SS1_CHECK(config.pooled_width == 0 || config.pooled_width == width, SS1_ERROR_FORMAT,
              "%s/%s: the pooling has embedding_dimension %zu, must be the %s %zu", config.root.c_str(),
              config.pooling_folder.c_str(), config.pooled_width,
              config.pooling.empty() ? "number of words" : "hidden size", width);
    size = std::max<size_t>(config.pooling.size(), 1) * width;
    for (const sentence_module &module : config.modules) {
        SS1_CHECK(!module.in || module.in == size, SS1_ERROR_FORMAT,
                  "%s/%s: takes rows of %zu, must be the %zu that the module before it gives", config.root.c_str(),
                  printable(module.folder).c_str(), module.in, size);
        if (module.out) size = module.out;
    }
    if (config.truncate_dim) size = std::min(size, config.truncate_dim);
    return SS1_OK;
}

void add_sentence_tensors(const sentence_config &config, std::vector<tensor_spec> &tensors) {
    for (const sentence_module &module : config.modules) {
        if (module.what == sentence_module::kind::dense) {
            const linear_shape layer = module.layer();
            tensors.push_back({layer.name + ".weight", {module.out, module.in}, layer.name, false});
            if (module.has_bias) tensors.push_back({layer.name + ".bias", {module.out}, layer.name, false});
        } else if (module.what == sentence_module::kind::layer_norm) {
            for (const char *name : {".norm.weight", ".norm.bias"})
                tensors.push_back({module.folder + name, {module.out}, "", false});
        }
    }
}

}  // namespace ss1
