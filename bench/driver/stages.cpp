// SPDX-License-Identifier: Apache-2.0
#include "driver/stages.hpp"

#include <functional>

#include "apps/failure.hpp"
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

std::vector<stage_work> bert_work(const model_handle &model, const model_rows &rows) {
    enum { embed, qkv, attention, attention_output, intermediate, output, norm, heads, n_stages };
    double tokens = 0, pairs = 0;  // pairs of tokens in one sequence
    for (size_t i = 0; i < rows.size(); ++i) {
        const double length = static_cast<double>(rows.tokens(i));
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

std::vector<stage_work> dlrm_work(const model_handle &model, const model_rows &rows) {
    enum { lookup, bottom, interaction, top, n_stages };
    std::vector<stage_work> work(n_stages);
    for_layers(model, [&](const std::string &name, const ss1_layer_info &layer) {
        if (name.starts_with("bot_l."))
            add(work[bottom], layer, static_cast<double>(rows.users()));
        else if (name.starts_with("top_l."))
            add(work[top], layer, static_cast<double>(rows.size()));
    });
    return work;
}

const std::vector<staged_family> families = {{.name = "dlrm",
                                              .usual_batches = {1, 64, 1024},
                                              .stages = {{"lookup", "lookup", false},
                                                         {"bottom", "bottom", true},
                                                         {"interaction", "inter.", false},
                                                         {"top", "top", true}},
                                              .work_of = dlrm_work},
                                             {.name = "bert",
                                              .usual_batches = {1, 8},
                                              .stages = {{"embed", "embed", false},
                                                         {"qkv", "QKV", true},
                                                         {"attention", "attention", true},
                                                         {"attention_output", "att. output", true},
                                                         {"intermediate", "intermediate", true},
                                                         {"output", "output", true},
                                                         {"norm", "norm", false},
                                                         {"heads", "heads", false}},
                                              .work_of = bert_work}};

}  // namespace

const staged_family &stages_of(const model_handle &model) {
    const std::string_view name = describe(model).family;
    for (const staged_family &family : families)
        if (name == family.name) return family;
    throw failure("this version of ss1-bench measures no models of the family " + std::string(name), "use a newer one");
}

std::vector<column> stage_columns(const staged_family &family) {
    std::vector<column> columns;
    for (const stage &s : family.stages) columns.push_back({"ns_" + s.key, s.title + " us", 1e-3, 1, 9});
    columns.push_back({"stages_of_run", "of run", 1, 3});
    for (const stage &s : family.stages)
        if (s.counted) columns.push_back({"percent_of_ceiling_" + s.key, s.title + " %", 1, 1});
    return columns;
}

}  // namespace ss1::bench
