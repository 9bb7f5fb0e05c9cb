// SPDX-License-Identifier: Apache-2.0
#include "driver/stage_work.hpp"

#include <functional>

#include "apps/format.hpp"

namespace ss1::bench {

using namespace apps;

namespace {

void for_layers(const model_handle &model,
                const std::function<void(const std::string &name, const ss1_layer_info &layer)> &f) {
    for (size_t i = 0; i < describe(model).n_layers; ++i) {
        const ss1_model_layer_info info = describe_layer(model, i);
        f(info.name, info.layer);
    }
}

void add(stage_work &stage, const ss1_layer_info &layer, double rows) {
    stage.flops += layer.flops_per_row * rows;
    stage.dtype = dtype_name(layer.desc.weight_dtype);
}

}  // namespace

std::vector<stage_work> work_of(const model_handle &model, const bert_rows &rows) {
    enum { embed, qkv, attention, attention_output, intermediate, output, norm, heads, n_stages };
    double tokens = 0, pairs = 0;  // of tokens in one sequence
    for (size_t i = 0; i < rows.size(); ++i) {
        const double length = static_cast<double>(rows.ids(i).size());
        tokens += length;
        pairs += length * length;
    }
    std::vector<stage_work> work(n_stages);
    for_layers(model, [&](const std::string &name, const ss1_layer_info &layer) {
        if (!name.starts_with("encoder.")) return;
        const bool in_attention = name.find(".attention.") != name.npos;
        add(work[name.ends_with("output.dense")         ? in_attention ? attention_output : output
                 : name.ends_with("intermediate.dense") ? intermediate
                                                        : qkv],
            layer, tokens);
        if (!name.ends_with(".query")) return;
        work[attention].flops += 4 * pairs * static_cast<double>(layer.desc.N);
        work[attention].dtype = layer.desc.y_dtype == SS1_DTYPE_BF16 ? "bf16" : "f32";
    });
    return work;
}

std::vector<stage_work> work_of(const model_handle &model, const dlrm_rows &rows) {
    enum { lookup, bottom, interaction, top, n_stages };
    std::vector<stage_work> work(n_stages);
    for_layers(model, [&](const std::string &name, const ss1_layer_info &layer) {
        if (name.starts_with("bot_l."))
            add(work[bottom], layer, rows.one_user() ? 1 : static_cast<double>(rows.size()));
        else if (name.starts_with("top_l."))
            add(work[top], layer, static_cast<double>(rows.size()));
    });
    return work;
}

}  // namespace ss1::bench
