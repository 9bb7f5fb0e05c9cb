// SPDX-License-Identifier: Apache-2.0
// Fuzzes what a directory of sentence-transformers adds to a model. The input is modules.json,
// config_sentence_transformers.json, sentence_bert_config.json, the config.json of modules 1, 2 and 3, and that of the
// model, with empty lines between them; an empty part is no file, but a small BERT for the model. In accepted
// directories modules have sizes and prompts names, and the default prompt is one of them.
#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "io/families.hpp"
#include "io/file.hpp"
#include "io/model_directory.hpp"
#include "ss1/ss1.hpp"

namespace {

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

constexpr std::string_view small_bert =
    R"({"model_type": "bert", "vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 8})";

std::string_view next_part(std::string_view &rest) {
    const size_t end = std::min(rest.find("\n\n"), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    return part;
}

std::vector<ss1_memory_file> files_of(std::string_view input) {
    std::vector<ss1_memory_file> files;
    const auto add = [&](const char *name, std::string_view part) {
        if (!part.empty()) files.push_back(ss1::memory_file(name, part.data(), part.size()));
    };
    for (const char *name : {"modules.json", "config_sentence_transformers.json"}) add(name, next_part(input));
    const std::string_view texts = next_part(input);
    for (const char *name : {"sentence_bert_config.json", "0/sentence_bert_config.json"}) add(name, texts);
    for (const char *name : {"1/config.json", "2/config.json", "3/config.json"}) add(name, next_part(input));
    const std::string_view given = next_part(input), model = given.empty() ? small_bert : given;
    for (const char *name : {"config.json", "0/config.json"}) add(name, model);
    return files;
}

void walk(const ss1::model_config &config) {
    const ss1::sentence_config &sentence = config.sentence;
    const bool states_sizes = config.family != &ss1::static_files;  // static embeddings have theirs from the tensors
    for (const ss1::tensor_spec &tensor : ss1::model_tensors(config))
        for (const size_t n : tensor.shape) promise(n > 0 || !states_sizes);
    for (const ss1::sentence_module &module : sentence.modules)
        promise(!module.has_tensors() || (module.in > 0 && module.out > 0 && !module.folder.empty()));
    promise(sentence.pooling.size() <= 6 && (sentence.pooling.empty() || sentence.words == ss1::word_pooling::none));
    for (const ss1::sentence_prompt &prompt : sentence.prompts)
        promise(prompt.name.find('\0') == prompt.name.npos && prompt.text.find('\0') == prompt.text.npos);
    promise(sentence.default_prompt.empty() ||
            std::ranges::find(sentence.prompts, sentence.default_prompt, &ss1::sentence_prompt::name) !=
                sentence.prompts.end());
    const size_t width = sentence.pooled_width ? sentence.pooled_width : 32;
    size_t size = 0;
    if (ss1::sentence_check_widths(sentence, width, size) != SS1_OK) return;
    promise(size > 0 && (!sentence.truncate_dim || size <= sentence.truncate_dim));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::vector<ss1_memory_file> files = files_of({reinterpret_cast<const char *>(data), size});
    const ss1::memory_folder folder(files);
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = 1;
    ss1::model_directory directory;
    const ss1_status status = ss1::model_directory_open(ss1::memory_folder::root, options, directory);
    promise(status == SS1_OK || status == SS1_ERROR_FORMAT || status == SS1_ERROR_UNSUPPORTED ||
            status == SS1_ERROR_IO);
    if (status == SS1_OK) walk(directory.config);
    return 0;
}
