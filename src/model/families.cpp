// SPDX-License-Identifier: Apache-2.0
#include "model/families.hpp"

#include <type_traits>

#include "io/bert_names.hpp"
#include "model/bert.hpp"
#include "model/dlrm.hpp"

namespace ss1 {
namespace {

template <class T>
const T &as(const void *p) noexcept {
    return *static_cast<const T *>(p);
}

// Makes the row of graph G from the overloads for G.
template <class G>
constexpr model_family row_of(const char *name, std::span<const std::string_view> types, bool has_tables,
                              const family_files &files) {
    using A = typename G::activations;
    static_assert(std::is_trivially_copyable_v<A>);
    return {
        .name = name,
        .types = types,
        .stages = G::stages,
        .has_tables = has_tables,
        .files = files,
        .make = []() -> std::shared_ptr<void> { return std::make_shared<G>(); },
        .prepare = [](const model_directory &from, void *g) { return prepare(from, *static_cast<G *>(g)); },
        .load = [](ss1_context &context, const model_directory &from,
                   void *g) { return load(context, from, *static_cast<G *>(g)); },
        .input_slots = [](const void *g) { return input_slots(as<G>(g)); },
        .output_slots = [](const void *g) { return output_slots(as<G>(g)); },
        .describe = [](const void *g, ss1_model_info &info) { describe(as<G>(g), info); },
        .layers = [](const void *g) -> const std::vector<named_layer> & { return as<G>(g).layers; },
        .labels = [](const void *g) -> const std::vector<std::string> & { return as<G>(g).labels; },
        .resolve_bounds = [](const void *g, session_bounds &bounds) { return resolve_bounds(as<G>(g), bounds); },
        .activation_bytes = sizeof(A),
        .carve = [](const ss1_context &context, const void *g, const session_bounds &bounds, carver &memory,
                    void *to) { new (to) A(carve(context, as<G>(g), bounds, memory)); },
        .check_sizes = [](const void *g, const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                          run_size &size) { return check_sizes(as<G>(g), bounds, inputs, size); },
        .check_values = [](const void *g,
                           const tensor_list<const ss1_tensor> &inputs) { return check_values(as<G>(g), inputs); },
        .run = [](const void *g, const void *activations,
                  model_run &all) { return run(as<G>(g), as<A>(activations), all); },
    };
}

// transformers leaves out tied tensors: the layer that scores masked words uses the word embeddings as its weight, and
// its bias has another name. The layer's own names get them.
void share_bert_tensors(model_directory &directory) {
    const model_config &config = directory.config;
    if (config.bert.head != bert_head::masked_words) return;
    const std::string decoder = "cls.predictions.decoder";
    const auto share = [&](const std::string &name, const char *source) {
        const model_tensor *tensor = directory.find(source);
        if (!tensor || directory.find(name)) return;
        model_tensor shared = *tensor;
        shared.name = name;
        shared.shared = true;
        directory.tensors.push_back(std::move(shared));
        directory.sort();
    };
    if (config.bert.tie_word_embeddings && !config.is_tied(decoder))
        share(decoder + ".weight", "embeddings.word_embeddings.weight");
    share(decoder + ".bias", "cls.predictions.bias");
}

std::string canonical_dlrm_name(const model_config &, std::string_view name) {
    std::string canonical(name);
    const size_t infix = canonical.find(".module.");
    if (infix != canonical.npos) canonical.erase(infix, 7);
    return canonical;
}

constexpr std::string_view dlrm_types[] = {"dlrm"};
constexpr std::string_view bert_types[] = {"bert", "distilbert", "roberta", "xlm-roberta"};

constexpr family_files dlrm_files = {
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

constexpr family_files bert_files = {
    .parse = [](const json &root, const std::string &type, const std::string &label,
                model_config &config) { return bert_config_parse(root, type, label, config.bert); },
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

constexpr model_family families[] = {
    row_of<dlrm_model>("dlrm", dlrm_types, true, dlrm_files),
    row_of<bert_model>("bert", bert_types, false, bert_files),
};

}  // namespace

std::span<const model_family> model_families() noexcept {
    return families;
}

}  // namespace ss1
