// SPDX-License-Identifier: Apache-2.0
// The tables of DeBERTa's attention. Its keys and queries of distances depend on no input, so each encoder layer's are
// made once, by a layer with the weights and the type of that layer, and packed as the attention reads them.
#include <algorithm>
#include <cmath>

#include "base/checked.hpp"
#include "model/bert.hpp"
#include "op/norm.hpp"
#include "op/pack.hpp"

namespace ss1 {
namespace {

// Reads the rows of the table with those of the lowest distance first, and normalizes them.
ss1_status load_rows(const ss1_context &context, const model_directory &from, bert_model &model, buffer &out) {
    const bert_config &config = model.config;
    const size_t H = config.hidden_size, n = config.relative.rows(), shape[] = {n, H};
    SS1_TRY(tensor_f32(context, from, "encoder.rel_embeddings.weight", shape, out));
    float *rows = out.as<float>();
    for (size_t i = 0; i < n / 2; ++i) std::swap_ranges(rows + i * H, rows + (i + 1) * H, rows + (n - 1 - i) * H);
    model.position_parameters = n * H;
    if (!config.relative.has_norm) return SS1_OK;
    norm_weights norm;
    SS1_TRY(load_norm(context, from, "encoder.LayerNorm", H, norm));
    normalize(context, *model.norm,
              {.x = rows,
               .r = nullptr,
               .gamma = norm.gamma.as<float>(),
               .beta = norm.beta.as<float>(),
               .y = rows,
               .m = n,
               .n = H,
               .eps = static_cast<float>(config.layer_norm_eps)});
    model.position_parameters += 2 * H;
    return SS1_OK;
}

// Runs a layer on all rows and packs each head of the results, [rows, H] in `made`.
ss1_status load_table(ss1_context &context, const model_directory &from, const linear_shape &shape,
                      const bert_model &model, const buffer &rows, const buffer &made, buffer &out) {
    const bert_config &config = model.config;
    const size_t H = config.hidden_size, heads = config.num_attention_heads, n = config.relative.rows();
    std::vector<named_layer> layers;
    SS1_TRY(load_layers(context, from, {&shape, 1}, SS1_ACTIVATION_NONE, layers));
    const team all(context);
    buffer scratch;
    SS1_TRY(scratch.allocate(context, layer_bytes(all, *layers[0].layer, n)));
    SS1_TRY(layer_run(all, *layers[0].layer, linear_args(n, rows.data(), H, made.data(), H, scratch.data())));
    const gemm_kernel &gemm = *model.attention.gemm;
    const size_t each = packed_positions(gemm, n, H / heads);
    SS1_TRY(out.allocate(context, heads * each * sizeof(float)));
    for (size_t h = 0; h < heads; ++h)
        pack_columns(made.as<float>() + h * H / heads, H / heads, n, H, gemm.nt, out.as<float>() + h * each);
    return SS1_OK;
}

ss1_status load_row_of_distance(const ss1_context &context, const model_directory &from, bert_model &out) {
    const relative_config &relative = out.config.relative;
    const size_t T = out.config.max_tokens(), shape[] = {2 * T - 1};
    size_t bytes;
    SS1_CHECK(checked_bytes(shape, sizeof(uint32_t), bytes), SS1_ERROR_FORMAT,
              "%s/config.json: the rows of the distances of %zu tokens do not fit the address space", from.path.c_str(),
              T);
    SS1_TRY(out.row_of_distance.allocate(context, bytes));
    auto *rows = out.row_of_distance.as<uint32_t>();
    for (size_t i = 0; i < 2 * T - 1; ++i) {
        const ptrdiff_t distance = static_cast<ptrdiff_t>(i) - static_cast<ptrdiff_t>(T - 1);
        rows[i] = static_cast<uint32_t>(relative.rows() - 1 - relative.row_of(distance));
        if (i > 0) out.position_step = std::max<size_t>(out.position_step, rows[i] - rows[i - 1]);
    }
    return SS1_OK;
}

}  // namespace

ss1_status load_position_terms(ss1_context &context, const model_directory &from, bert_model &out) {
    const bert_config &config = out.config;
    const relative_config &relative = config.relative;
    if (!relative.span) return SS1_OK;
    buffer rows, made;
    SS1_TRY(load_rows(context, from, out, rows));
    SS1_TRY(made.allocate(context, rows.bytes()));
    const size_t H = config.hidden_size;
    for (size_t i = 0; i < config.num_hidden_layers; ++i)
        for (const bool of_keys : {true, false}) {
            if (of_keys ? !relative.keys : !relative.queries) continue;
            buffer &table = (of_keys ? out.position_keys : out.position_queries).emplace_back();
            SS1_TRY(load_table(context, from, relative_layer(config, i, of_keys), out, rows, made, table));
            if (!relative.shares_layers) out.position_parameters += H * H + H;
        }
    return load_row_of_distance(context, from, out);
}

position_terms bert_model::terms_of(size_t encoder) const noexcept {
    if (!has_position_terms()) return {};
    const auto table = [&](const std::vector<buffer> &tables) {
        return tables.empty() ? nullptr : tables[encoder].as<float>();
    };
    const size_t rows = config.relative.rows(), head_size = config.hidden_size / config.num_attention_heads;
    const size_t terms = 1 + config.relative.keys + config.relative.queries;
    return {.keys = table(position_keys),
            .queries = table(position_queries),
            .rows = rows,
            .head_stride = packed_positions(*attention.gemm, rows, head_size),
            .row_of_distance = row_of_distance.as<uint32_t>(),
            .tokens = config.max_tokens(),
            .step = position_step,
            .scale = 1 / std::sqrt(static_cast<float>(head_size * terms))};
}

}  // namespace ss1
