// SPDX-License-Identifier: Apache-2.0
// A DLRM and a BERT with layers of low rank, alone, beside a tied and beside a dense part.
#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io_support.hpp"
#include "model_support.hpp"

namespace low_rank_support {

using nlohmann::json;

inline const json tied = {{"kind", "ss1"}, {"c", 4},        {"scheme", "mixed"}, {"seed", 7},
                          {"block_k", 16}, {"block_n", 64}, {"step", 16}};

inline json with_rank(json entry, size_t rank) {
    entry["rank"] = rank;
    return entry;
}

inline std::string config_of(const char *base, const std::map<std::string, json> &layers) {
    json config = json::parse(base);
    config["ss1"]["layers"] = layers;
    return config.dump();
}

inline std::string dlrm_config() {
    return config_of(model_support::wide_dlrm, {{"bot_l.2", {{"kind", "low_rank"}, {"rank", 12}}},
                                                {"top_l.0", {{"kind", "dense"}, {"rank", 5}}},
                                                {"top_l.2", with_rank(tied, 20)}});
}

// Queries, keys and values have entries of one kind: with the same V they run as one layer.
inline std::string bert_config() {
    std::map<std::string, json> layers = {{"encoder.layer.1.output.dense", with_rank(tied, 16)},
                                          {"encoder.layer.0.intermediate.dense", {{"kind", "low_rank"}, {"rank", 9}}},
                                          {"classifier", {{"kind", "low_rank"}, {"rank", 2}}}};
    for (const char *which : {"query", "key", "value"}) {
        layers[std::string("encoder.layer.0.attention.self.") + which] = {{"kind", "low_rank"}, {"rank", 24}};
        layers[std::string("encoder.layer.1.attention.self.") + which] = with_rank(tied, 10);
    }
    return config_of(model_support::wide_bert, layers);
}

inline std::vector<float> values(const std::string &name, size_t n) {
    std::vector<float> drawn(n);
    ss1::random_weights(1, name, 0, drawn);
    // A low-rank part of the size of the others.
    for (float &v : drawn) v *= name.ends_with(".low_rank_up") ? 15.0f : name.ends_with("weight") ? 3.0f : 1.0f;
    return drawn;
}

// Draws each tensor by its name; queries, keys and values get one V.
inline ss1_status write(const std::string &folder, const std::string &config) {
    return io_support::write_model(folder, config, [](std::vector<ss1::tensor_to_write> &tensors) {
        for (ss1::tensor_to_write &t : tensors) {
            if (t.shape.size() != 2) continue;
            std::string drawn = t.name;
            for (const char *which : {".query.low_rank_down", ".key.low_rank_down"})
                if (drawn.ends_with(which)) drawn.replace(drawn.rfind(which), drawn.npos, ".value.low_rank_down");
            t = io_support::tensor(t.name, ss1::file_dtype::f32, t.shape,
                                   io_support::bytes_of(values(drawn, t.shape[0] * t.shape[1])));
        }
    });
}

}  // namespace low_rank_support
