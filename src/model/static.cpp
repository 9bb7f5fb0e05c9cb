// SPDX-License-Identifier: Apache-2.0
#include "model/static.hpp"

#include <algorithm>

#include "base/stage_clock.hpp"

namespace ss1 {
namespace {

constexpr size_t max_static_tokens = size_t{1} << 20;  // of a text; the table sets no limit

// y = the mean of the rows of T ids, of those with mask 1; 0 without one.
void mean_of_rows(const static_model &model, const int64_t *ids, const int64_t *mask, size_t T, float *y) noexcept {
    const size_t d = model.config.size;
    std::fill_n(y, d, 0.0f);
    float n = 0;
    for (size_t t = 0; t < T; ++t) {
        if (mask && !mask[t]) continue;
        const float *row = model.table.as<float>() + static_cast<size_t>(ids[t]) * d;
        for (size_t i = 0; i < d; ++i) y[i] += row[i];
        ++n;
    }
    for (size_t i = 0; n > 0 && i < d; ++i) y[i] /= n;
}

}  // namespace

ss1_status prepare(const model_directory &from, static_model &out) {
    out.config = from.config.fixed;
    SS1_CHECK(out.config.size, SS1_ERROR_UNSUPPORTED,
              "%s: random weights need sizes, which static embeddings have only in their file", from.path.c_str());
    for (const char *name : {"mapping", "weights"})
        SS1_CHECK(!from.find(name), SS1_ERROR_UNSUPPORTED,
                  "%s: tensor '%s' of model2vec's reduced vocabularies is not supported", from.path.c_str(), name);
    out.sentence.config = from.config.sentence;
    SS1_TRY(sentence_check_widths(out.sentence.config, out.config.size, out.sentence.size));
    prepare_modules(out.config.size, out.sentence);
    return SS1_OK;
}

ss1_status load(ss1_context &context, const model_directory &from, static_model &out) {
    const size_t shape[] = {out.config.vocab_size, out.config.size};
    SS1_TRY(tensor_f32(context, from, "embeddings", shape, out.table));
    return load_sentence(context, from, out.layers, out.sentence);
}

std::vector<tensor_slot> input_slots(const static_model &) {
    return {make_slot("input_ids", SS1_DTYPE_I64, {varies, varies}, true),
            make_slot("attention_mask", SS1_DTYPE_I64, {varies, varies}, false)};
}

std::vector<tensor_slot> output_slots(const static_model &model) {
    return {make_slot("sentence_embedding", SS1_DTYPE_F32, {varies, model.sentence.size}, false)};
}

void describe(const static_model &model, ss1_model_info &info) noexcept {
    info.weight_bytes = model.table.bytes() + norm_bytes(model.sentence);
    info.parameters = info.weight_bytes / sizeof(float);
    info.max_tokens = max_static_tokens;
    info.vocab_size = model.config.vocab_size;
    info.embedding_size = model.sentence.size;
}

ss1_status resolve_bounds(const static_model &, session_bounds &bounds) noexcept {
    if (bounds.max_tokens == 0) bounds.max_tokens = max_static_tokens;
    SS1_CHECK(bounds.max_tokens <= max_static_tokens, SS1_ERROR_INVALID_ARGUMENT,
              "options.max_tokens=%zu is above the limit of %zu", bounds.max_tokens, max_static_tokens);
    return SS1_OK;
}

static_activations carve(const ss1_context &context, const static_model &model, const session_bounds &bounds,
                         carver &memory) noexcept {
    static_activations a = {};
    a.rows = carve_sentence(model.sentence, bounds.max_batch, memory);
    a.scratch = memory.take<char>(layer_scratch(context, model.layers, bounds.max_batch), 1);
    return a;
}

ss1_status check_sizes(const static_model &, const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                       run_size &size) {
    return check_token_sizes(bounds, inputs, size);
}

ss1_status check_values(const static_model &model, const tensor_list<const ss1_tensor> &inputs) {
    const auto rows = static_cast<size_t>(inputs[0]->shape[0]), columns = static_cast<size_t>(inputs[0]->shape[1]);
    SS1_TRY(check_ids("input_ids", ids_of(inputs[0]), rows, columns, model.config.vocab_size));
    return check_ids("attention_mask", ids_of(inputs[1]), rows, columns, 2);
}

ss1_status run(const static_model &model, const static_activations &memory, model_run &run) {
    stage_clock clock(run.stage_seconds);
    const auto [B, T] = run.size;
    const int64_t *ids = ids_of(run.inputs[0]), *mask = ids_of(run.inputs[1]);
    parallel_ranges(run.context, B, run.size.tokens * model.config.size, [&, columns = T](size_t begin, size_t end) {
        for (size_t b = begin; b < end; ++b)
            mean_of_rows(model, ids + b * columns, mask ? mask + b * columns : nullptr, columns,
                         memory.rows.x + b * model.config.size);
    });
    clock.lap(0);
    SS1_TRY(run.control.check());
    SS1_TRY(run_modules(model.sentence, run, B, memory.rows, memory.scratch, run.outputs.results[0]));
    clock.lap(1);
    return SS1_OK;
}

}  // namespace ss1
