// SPDX-License-Identifier: Apache-2.0
// Runs the modules of a sentence-transformers directory, which make one vector for each sequence of a transformer's
// hidden states.
#pragma once
#include "model/layers.hpp"
#include "model/session.hpp"
#include "op/pooling.hpp"

namespace ss1 {

struct norm_weights {
    buffer gamma, beta;
};
// Loads `name`.weight and `name`.bias, n values each; without a bias, zeros.
ss1_status load_norm(const ss1_context &context, const model_directory &from, const std::string &name, size_t n,
                     norm_weights &out, bool has_bias = true);

struct sentence_graph {
    // `layer` or `norm` belongs to a module that has one.
    struct step {
        sentence_module::kind what;
        size_t width;  // after it
        const ss1_layer *layer;
        norm_weights norm;
    };

    sentence_config config;
    size_t hidden_size = 0;
    size_t pooled = 0;  // width of the rows that the modules take
    size_t size = 0;    // of the sentence embedding; 0: the model has none
    size_t widest = 0;  // of all rows between the modules
    std::vector<step> steps;
    const norm_kernel *norm = nullptr;

    bool is_there() const noexcept { return size != 0; }
    bool pools_words() const noexcept { return config.words != word_pooling::none; }
    bool takes_prompts() const noexcept { return is_there() && !config.include_prompt; }
};

// Checks the widths; then slots and size are known. `words`: of the scores that SPLADE pools, 0 without a head for
// words.
ss1_status prepare_sentence(const model_directory &from, size_t hidden_size, size_t words, sentence_graph &out);
// Appends the dense layers to `layers`.
ss1_status load_sentence(ss1_context &context, const model_directory &from, std::vector<named_layer> &layers,
                         sentence_graph &out);
size_t norm_bytes(const sentence_graph &graph) noexcept;

// The rows of a batch between two modules: [B, widest] each. SPLADE has no y.
struct sentence_rows {
    float *x, *y;
};
sentence_rows carve_sentence(const sentence_graph &graph, size_t max_batch, carver &memory) noexcept;

// Pools packed hidden states and runs the modules. `skip`: tokens of each sequence that are not pooled, or NULL.
// `embedding` receives [B, size] in `rows`.
ss1_status run_sentence(const sentence_graph &graph, const model_run &run, const float *states,
                        std::span<const sequence> sequences, const int64_t *skip, sentence_rows rows, void *scratch,
                        const float *&embedding);

// Sets what follows rows of `pooled` values; out.config is set.
void prepare_modules(size_t pooled, sentence_graph &out) noexcept;
// Runs the modules on m rows of graph.pooled values in rows.x.
ss1_status run_modules(const sentence_graph &graph, const model_run &run, size_t m, sentence_rows rows, void *scratch,
                       const float *&embedding);
// Cuts m rows of `width` to the size of the embedding.
ss1_status finish_sentence(const sentence_graph &graph, size_t m, size_t width, float *rows, const float *&embedding);

}  // namespace ss1
