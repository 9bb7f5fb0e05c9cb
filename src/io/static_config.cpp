// SPDX-License-Identifier: Apache-2.0
#include "io/static_config.hpp"

#include "base/status.hpp"
#include "io/model_directory.hpp"

namespace ss1 {

ss1_status static_config_parse(const json &root, const std::string &label, model_config &out) {
    bool normalizes = false;
    SS1_TRY(json_bool(root, label, "normalize", key::optional, normalizes));
    if (normalizes && !out.sentence.normalizes())
        out.sentence.modules.push_back({.what = sentence_module::kind::normalize, .folder = {}});
    return SS1_OK;
}

void add_static_tensors(const static_config &config, std::vector<tensor_spec> &tensors) {
    tensors.push_back({"embeddings", {config.vocab_size, config.size}, "", false});
}

void measure_static_table(model_directory &directory) {
    const model_tensor *table = directory.find("embeddings");
    if (!table || table->stored.shape.size() != 2) return;  // the check of all tensors says what is wrong
    directory.config.fixed.vocab_size = table->stored.shape[0];
    directory.config.fixed.size = table->stored.shape[1];
}

}  // namespace ss1
