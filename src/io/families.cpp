// SPDX-License-Identifier: Apache-2.0
#include "io/families.hpp"

#include "io/bert_names.hpp"

namespace ss1 {
namespace {

// transformers leaves out tied tensors: the layer that scores masked words uses the word embeddings as its weight, and
// its bias has another name. Files of other programs keep the layer's weight and leave out the embeddings. The names
// that are missing get the tensors that are there.
void share_bert_tensors(model_directory &directory) {
    const model_config &config = directory.config;
    if (config.bert.head != bert_head::masked_words) return;
    const std::string decoder = "cls.predictions.decoder", words = "embeddings.word_embeddings.weight";
    const auto share = [&](const std::string &name, const std::string &source) {
        const model_tensor *tensor = directory.find(source);
        if (!tensor || directory.find(name)) return;
        model_tensor shared = *tensor;
        shared.name = name;
        shared.source = source;
        directory.tensors.push_back(std::move(shared));
        directory.sort();
    };
    if (config.bert.tie_word_embeddings && config.has_weight(decoder)) {
        share(decoder + ".weight", words);
        share(words, decoder + ".weight");
    }
    share(decoder + ".bias", "cls.predictions.bias");
}

std::string canonical_dlrm_name(const model_config &, std::string_view name) {
    std::string canonical(name);
    const size_t infix = canonical.find(".module.");
    if (infix != canonical.npos) canonical.erase(infix, 7);
    return canonical;
}

constexpr std::string_view static_types[] = {"model2vec"};
constexpr std::string_view dlrm_types[] = {"dlrm"};
constexpr std::string_view bert_types[] = {"bert",       "distilbert", "roberta", "xlm-roberta",
                                           "camembert",  "electra",    "mpnet",   "albert",
                                           "modernbert", "nomic_bert", "new",     "deberta-v2"};

}  // namespace

constinit const family_files dlrm_files = {
    .name = "dlrm",
    .types = dlrm_types,
    .has_tables = true,
    .has_hidden_states = false,
    .takes_bare_texts = false,
    .runs_on_backends = true,
    .parse = [](const json &root, const std::string &, const std::string &label,
                model_config &config) { return dlrm_config_parse(root, label, config.dlrm); },
    .add_layers = [](const model_config &config,
                     std::vector<linear_shape> &layers) { add_dlrm_layers(config.dlrm, layers); },
    .add_tensors = [](const model_config &config,
                      std::vector<tensor_spec> &tensors) { add_dlrm_tensors(config.dlrm, tensors); },
    .canonical_name = canonical_dlrm_name,
    .stored_name = [](const model_config &, std::string_view name) { return std::string(name); },
    .share_tensors = [](model_directory &) {},
};

constinit const family_files bert_files = {
    .name = "bert",
    .types = bert_types,
    .has_tables = false,
    .has_hidden_states = true,
    .takes_bare_texts = false,
    .runs_on_backends = true,
    .parse =
        [](const json &root, const std::string &type, const std::string &label, model_config &config) {
            return bert_config_parse(root, type, label, config.bert, !config.sentence.pooling.empty());
        },
    .add_layers = [](const model_config &config,
                     std::vector<linear_shape> &layers) { add_bert_layers(config.bert, layers); },
    .add_tensors = [](const model_config &config,
                      std::vector<tensor_spec> &tensors) { add_bert_tensors(config.bert, tensors); },
    .canonical_name = [](const model_config &config,
                         std::string_view name) { return canonical_bert_name(config.bert, name); },
    .stored_name = [](const model_config &config,
                      std::string_view name) { return stored_bert_name(config.bert, name); },
    .share_tensors = share_bert_tensors,
};

constinit const family_files static_files = {
    .name = "static",
    .types = static_types,
    .has_tables = false,
    .has_hidden_states = false,
    .takes_bare_texts = true,
    .runs_on_backends = false,
    .parse = [](const json &root, const std::string &, const std::string &label,
                model_config &config) { return static_config_parse(root, label, config); },
    .add_layers = [](const model_config &, std::vector<linear_shape> &) {},
    .add_tensors = [](const model_config &config,
                      std::vector<tensor_spec> &tensors) { add_static_tensors(config.fixed, tensors); },
    .canonical_name =
        [](const model_config &, std::string_view name) {
            return std::string(name == "embedding.weight" ? "embeddings" : name);
        },
    .stored_name = [](const model_config &, std::string_view name) { return std::string(name); },
    .share_tensors = measure_static_table,
};

std::span<const family_files *const> known_families() noexcept {
    static constexpr const family_files *families[] = {&dlrm_files, &bert_files, &static_files};
    return families;
}

}  // namespace ss1
