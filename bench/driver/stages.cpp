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

const char *bert_stage(const std::string &layer) {
    if (layer.ends_with("output.dense")) return layer.find(".attention.") != layer.npos ? "attention_output" : "output";
    return layer.ends_with("intermediate.dense") ? "intermediate" : "qkv";
}

work_by_stage bert_work(const model_handle &model, const model_rows &rows) {
    double tokens = 0, pairs = 0;  // pairs of tokens in one sequence
    for (size_t i = 0; i < rows.size(); ++i) {
        const double length = static_cast<double>(rows.tokens(i));
        tokens += length;
        pairs += length * length;
    }
    work_by_stage work;
    for_layers(model, [&](const std::string &name, const ss1_layer_info &layer) {
        if (!name.starts_with("encoder.")) return;
        add(work[bert_stage(name)], layer, tokens);
        if (!name.ends_with(".query")) return;
        stage_work &attention = work["attention"];
        attention.flops += 4 * pairs * static_cast<double>(layer.desc.N);
        attention.dtype = layer.desc.y_dtype == SS1_DTYPE_BF16 ? "bf16" : "f32";
    });
    return work;
}

work_by_stage dlrm_work(const model_handle &model, const model_rows &rows) {
    work_by_stage work;
    for_layers(model, [&](const std::string &name, const ss1_layer_info &layer) {
        if (name.starts_with("bot_l."))
            add(work["bottom"], layer, static_cast<double>(rows.users()));
        else if (name.starts_with("top_l."))
            add(work["top"], layer, static_cast<double>(rows.size()));
    });
    return work;
}

const std::vector<staged_family> families = {
    {.name = "dlrm", .usual_batches = {1, 64, 1024}, .counted = {"bottom", "top"}, .work_of = dlrm_work},
    {.name = "bert",
     .usual_batches = {1, 8},
     .counted = {"qkv", "attention", "attention_output", "intermediate", "output"},
     .work_of = bert_work}};

// The stage's name in a table, which must be short.
std::string title_of(const std::string &stage) {
    static const std::map<std::string, std::string> titles = {
        {"interaction", "inter."}, {"qkv", "QKV"}, {"attention_output", "att. output"}};
    const auto found = titles.find(stage);
    return found == titles.end() ? stage : found->second;
}

}  // namespace

const staged_family &staged_family_of(const model_handle &model) {
    const std::string_view name = describe(model).family;
    for (const staged_family &family : families)
        if (name == family.name) return family;
    throw failure("this version of ss1-bench measures no models of the family " + std::string(name), "use a newer one");
}

std::vector<std::string> stages_of(const model_handle &model) {
    std::vector<std::string> names(describe(model).n_stages);
    for (size_t i = 0; i < names.size(); ++i) {
        const char *name = nullptr;
        check(ss1_model_stage(model.get(), i, &name));
        names[i] = name;
    }
    return names;
}

std::vector<column> stage_columns(const model_handle &model) {
    std::vector<column> columns;
    for (const std::string &name : stages_of(model))
        columns.push_back({"ns_" + name, title_of(name) + " us", 1e-3, 1, 9});
    columns.push_back({"stages_of_run", "of run", 1, 3});
    for (const std::string &name : staged_family_of(model).counted)
        columns.push_back({"percent_of_ceiling_" + name, title_of(name) + " %", 1, 1});
    return columns;
}

}  // namespace ss1::bench
