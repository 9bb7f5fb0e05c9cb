// SPDX-License-Identifier: Apache-2.0
// Fuzzes config.json and the index of shards. For accepted input it visits every layer and tensor of the model.
#include <cstdlib>
#include <string_view>

#include "io/families.hpp"
#include "io/model_directory.hpp"
#include "mapping/mapping.hpp"

namespace {

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

void walk(const ss1::model_config &config) {
    for (const ss1::linear_shape &layer : ss1::linear_layers(config)) promise(layer.K > 0 && layer.N > 0);
    const bool states_sizes = config.family != &ss1::static_files;  // static embeddings have theirs from the tensors
    for (const ss1::tensor_spec &tensor : ss1::model_tensors(config)) {
        for (const size_t n : tensor.shape) promise(n > 0 || !states_sizes);
    }
    for (const auto &[name, layer] : config.layers) {
        ss1::layer_config again = layer;
        size_t stored_columns = 0;
        promise(ss1::linear_resolve(again.desc, &stored_columns) == SS1_OK && stored_columns > 0);
    }
    // Written again it means the same; the second time the text is the same, too.
    std::string text, again;
    ss1::model_config second;
    promise(ss1::model_config_write(config, {}, nullptr, text) == SS1_OK);
    promise(ss1::model_config_parse(text, "fuzz", second) == SS1_OK);
    promise(ss1::model_config_write(second, {}, nullptr, again) == SS1_OK && again == text);
    promise(second.layers.size() == config.layers.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::string_view text(reinterpret_cast<const char *>(data), size);
    ss1::model_config config;
    const ss1_status status = ss1::model_config_parse(text, "fuzz", config);
    promise(status == SS1_OK || status == SS1_ERROR_FORMAT || status == SS1_ERROR_UNSUPPORTED);
    if (status == SS1_OK) walk(config);

    std::map<std::string, std::string> shards;
    if (ss1::model_index_parse(text, "fuzz", shards) == SS1_OK) {
        for (const auto &[tensor, shard] : shards) promise(shard.find('/') == shard.npos && !tensor.empty());
    }
    return 0;
}
