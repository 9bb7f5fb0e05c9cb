// SPDX-License-Identifier: Apache-2.0
#include "model/sentence.hpp"

#include <algorithm>

#include "op/norm.hpp"

namespace ss1 {
namespace {

using kind = sentence_module::kind;

constexpr float layer_norm_eps = 1e-5f;  // torch.nn.LayerNorm's

// Keeps the first `to` of `from` values of each row.
void cut_rows(float *rows, size_t m, size_t from, size_t to) noexcept {
    for (size_t i = 1; i < m; ++i) std::copy_n(rows + i * from, to, rows + i * to);
}

}  // namespace

ss1_status load_norm(const ss1_context &context, const model_directory &from, const std::string &name, size_t n,
                     norm_weights &out, bool has_bias) {
    const size_t shape[] = {n};
    SS1_TRY(tensor_f32(context, from, name + ".weight", shape, out.gamma));
    if (has_bias) return tensor_f32(context, from, name + ".bias", shape, out.beta);
    SS1_TRY(out.beta.allocate(context, n * sizeof(float)));
    std::fill_n(out.beta.as<float>(), n, 0.0f);
    return SS1_OK;
}

ss1_status prepare_sentence(const model_directory &from, size_t hidden_size, size_t words, sentence_graph &out) {
    out.config = from.config.sentence;
    out.hidden_size = hidden_size;
    if (out.pools_words()) {
        SS1_CHECK(words, SS1_ERROR_UNSUPPORTED,
                  "%s: SpladePooling needs a model that scores masked words (...ForMaskedLM)", from.path.c_str());
        out.widest = words;
        return sentence_check_widths(out.config, words, out.size);
    }
    if (out.config.pooling.empty()) return SS1_OK;
    SS1_TRY(sentence_check_widths(out.config, hidden_size, out.size));
    prepare_modules(out.config.pooling.size() * hidden_size, out);
    return SS1_OK;
}

void prepare_modules(size_t pooled, sentence_graph &out) noexcept {
    out.pooled = out.widest = pooled;
    for (const sentence_module &module : out.config.modules) out.widest = std::max(out.widest, module.out);
}

ss1_status load_sentence(ss1_context &context, const model_directory &from, std::vector<named_layer> &layers,
                         sentence_graph &out) {
    out.norm = &norm_kernels().select(context.usable);
    size_t width = out.pooled;
    for (const sentence_module &module : out.config.modules) {
        if (module.out) width = module.out;
        sentence_graph::step &step = out.steps.emplace_back();
        step.what = module.what;
        step.width = width;
        step.layer = nullptr;
        if (module.what == kind::dense) {
            const linear_shape shape = module.layer();
            SS1_TRY(load_layers(context, from, {&shape, 1}, module.activation, layers));
            step.layer = layers.back().layer.get();
        } else if (module.what == kind::layer_norm) {
            SS1_TRY(load_norm(context, from, module.folder + ".norm", width, step.norm));
        }
    }
    return SS1_OK;
}

size_t norm_bytes(const sentence_graph &graph) noexcept {
    size_t bytes = 0;
    for (const sentence_graph::step &step : graph.steps) bytes += step.norm.gamma.bytes() + step.norm.beta.bytes();
    return bytes;
}

sentence_rows carve_sentence(const sentence_graph &graph, size_t max_batch, carver &memory) noexcept {
    if (!graph.is_there()) return {};
    sentence_rows rows = {};
    rows.x = memory.take<float>(max_batch, graph.widest);
    if (!graph.pools_words()) rows.y = memory.take<float>(max_batch, graph.widest);
    return rows;
}

ss1_status run_sentence(const sentence_graph &graph, const model_run &run, const float *states,
                        std::span<const sequence> sequences, const int64_t *skip, sentence_rows rows, void *scratch,
                        const float *&embedding) {
    pool(run.context, {.rows = states,
                       .width = graph.hidden_size,
                       .sequences = sequences,
                       .modes = graph.config.pooling,
                       .skip = skip,
                       .y = rows.x});
    return run_modules(graph, run, sequences.size(), rows, scratch, embedding);
}

ss1_status run_modules(const sentence_graph &graph, const model_run &run, size_t B, sentence_rows rows, void *scratch,
                       const float *&embedding) {
    size_t width = graph.pooled;
    for (const sentence_graph::step &step : graph.steps) {
        SS1_TRY(run.control.check());
        if (step.what == kind::dense) {
            SS1_TRY(layer_run(run.all(), *step.layer, linear_args(B, rows.x, width, rows.y, step.width, scratch)));
            std::swap(rows.x, rows.y);
        } else if (step.what == kind::layer_norm) {
            normalize(run.context, *graph.norm,
                      {.x = rows.x,
                       .r = nullptr,
                       .gamma = step.norm.gamma.as<float>(),
                       .beta = step.norm.beta.as<float>(),
                       .y = rows.x,
                       .m = B,
                       .n = width,
                       .eps = layer_norm_eps});
        } else {
            scale_to_length_one(rows.x, B, width);
        }
        width = step.width;
    }
    return finish_sentence(graph, B, width, rows.x, embedding);
}

ss1_status finish_sentence(const sentence_graph &graph, size_t m, size_t width, float *rows, const float *&embedding) {
    if (graph.size < width) {
        cut_rows(rows, m, width, graph.size);
        if (graph.config.normalizes()) scale_to_length_one(rows, m, graph.size);
    }
    embedding = rows;
    return SS1_OK;
}

}  // namespace ss1
