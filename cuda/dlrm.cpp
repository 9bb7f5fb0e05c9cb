// SPDX-License-Identifier: Apache-2.0
// DLRMs. What the graph is says src/model/dlrm.hpp; config.json is read by the core's own code. Rows of tables are on
// the device as the CPU has them. Values between layers are f32, but for bf16 inside of an MLP whose layers have
// weights below f32.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check_values.hpp"
#include "half.hpp"
#include "io/dlrm_config.hpp"
#include "layer.hpp"
#include "model.hpp"
#include "recommend.hpp"

namespace ss1::cuda {
namespace {

constexpr size_t rows_at_once = 16384;  // of the batch: bounds the memory, and is enough work for the device
constexpr size_t most_tables = 65535;   // of a grid

enum input { dense_x, indices, offsets, weights, user_indices, user_offsets, user_weights };

// The tables of one side: of the items, or of users.
struct side {
    std::vector<table_of_bags> names;
    std::vector<device_table> rows;
    device_memory on_device;  // `rows`
    const char *prefix;
    input first;  // of its three inputs
};

struct dlrm {
    dlrm_config config;
    std::vector<device_memory> tables;
    side items = {{}, {}, {}, "", indices}, users = {{}, {}, {}, "user_", user_indices};
    std::vector<block_layer> bottom, top;
    std::vector<std::array<block_layer, 2>> cross;        // V_l, W_l
    size_t vectors_ld = 0, top_ld = 0, hidden_bytes = 0;  // hidden: of a row between two layers of an MLP

    bool is_dot() const { return config.interaction == dlrm_interaction::dot; }
    size_t vectors() const { return config.tables.size() + 1; }
};

// Device memory that grows: the number of indices of a run has no bound that a session knows.
struct growing_memory {
    std::unique_ptr<device_buffer> memory;
    size_t bytes = 0;
};

struct bags_input {
    int64_t *offsets;
    growing_memory indices, weights;
};

// All arrays are device memory, but for `bad_back`.
struct dlrm_activations {
    float *dense, *shared;                // [B, D]; [vectors_ld] the vectors that all rows of a run have in common
    float *vectors, *top_x, *crossed[2];  // [rows, vectors_ld or top_ld]
    char *hidden[2], *scratch;
    float *logits, *probability;  // [B]
    int *bad, *bad_back;          // [2]: of users, of items; pinned
    bags_input items, users;
};

// ---- create

ss1_status read_config(const ss1_model_spec &spec, dlrm_config &out) {
    json_document document;
    SS1_CHECK_OK(pass_on(json_parse(spec.config, "config.json", {}, document)));
    return pass_on(dlrm_config_parse(document.root(), "config.json", out));
}

// Rounds values to a format of 2 bytes. @return whether all fit
bool round_values(const std::vector<float> &values, row_format format, std::vector<uint16_t> &out) {
    bool fits = true;
    for (const float v : values) {
        out.push_back(format == row_format::bf16 ? bf16_from_f32(v) : f16_from_f32(v));
        fits = fits && std::isfinite(format == row_format::bf16 ? bf16_to_f32(out.back()) : f16_to_f32(out.back()));
    }
    return fits;
}

// Whether scales and biases of quantised rows are finite.
bool are_finite(const std::vector<char> &rows, row_format format, size_t d) {
    const size_t bytes = row_bytes(format, d);
    for (size_t at = 0; at < rows.size(); at += bytes) {
        float pair[2];
        uint16_t halves[2];
        if (format == row_format::int8) {
            std::memcpy(pair, rows.data() + at + d, sizeof pair);
        } else {
            std::memcpy(halves, rows.data() + at + (d + 1) / 2, sizeof halves);
            std::transform(halves, halves + 2, pair, f16_to_f32);
        }
        if (!std::isfinite(pair[0]) || !std::isfinite(pair[1])) return false;
    }
    return true;
}

// What is wrong with the values of a table is the core's to say.
ss1_status load_table(model_source &from, const dlrm_config &config, size_t k, device_memory &out) {
    const dlrm_table &table = config.tables[k];
    const std::string name = "emb_l." + std::to_string(k) + ".weight";
    from.parameters += table.rows * config.embedding_dim;
    const size_t i = find_tensor(from.spec, name), values = table.rows * config.embedding_dim;
    if (i == SIZE_MAX) return fail(SS1_ERROR_INTERNAL, "the model has no tensor " + name);
    if (table.format == row_format::int8 || table.format == row_format::int4) {
        std::vector<char> rows(table.rows * row_bytes(table.format, config.embedding_dim));
        SS1_CHECK_OK(from.spec.read_tensor(&from.spec, i, rows.data()));
        if (!are_finite(rows, table.format, config.embedding_dim)) return leave_to_core("rows that are not finite");
        return upload_bytes(from, rows.data(), rows.size(), out);
    }
    std::vector<float> rows(values);
    SS1_CHECK_OK(from.spec.read_tensor(&from.spec, i, rows.data()));
    if (table.format == row_format::f32) return upload_bytes(from, rows.data(), values * sizeof(float), out);
    std::vector<uint16_t> rounded;
    rounded.reserve(values);
    if (!round_values(rows, table.format, rounded)) return leave_to_core("rows that do not fit their dtype");
    return upload_bytes(from, rounded.data(), values * sizeof(uint16_t), out);
}

ss1_status load_tables(model_source &from, dlrm &out) {
    for (size_t k = 0; k < out.config.tables.size(); ++k) {
        const dlrm_table &table = out.config.tables[k];
        const ss1_status status = load_table(from, out.config, k, out.tables.emplace_back());
        if (status == SS1_ERROR_OUT_OF_MEMORY)
            return leave_to_core("room on the device or the host for table " + std::to_string(k) + " of " +
                                 std::to_string(table.rows) + " rows");
        SS1_CHECK_OK(status);
        side &of = table.user_side ? out.users : out.items;
        of.names.push_back({k, table.rows, table.name.c_str()});
        of.rows.push_back({.rows = out.tables.back()->as(),
                           .count = table.rows,
                           .row_bytes = row_bytes(table.format, out.config.embedding_dim),
                           .number = k + 1,
                           .format = table.format,
                           .mean = table.mean});
    }
    for (side *of : {&out.items, &out.users})
        if (!of->rows.empty())
            SS1_CHECK_OK(upload_bytes(from, of->rows.data(), of->rows.size() * sizeof(device_table), of->on_device));
    return SS1_OK;
}

ss1_status load_mlp(model_source &from, size_t first, size_t n, ss1_activation last, std::vector<block_layer> &out) {
    ss1_dtype x = SS1_DTYPE_F32;
    for (size_t i = 0; i < n; ++i) {
        const ss1_layer_spec *layer = from.spec.layers + first + i;
        const bool is_last = i + 1 == n, hands_bf16 = !is_last && is_below_f32(layer[0]) && is_below_f32(layer[1]);
        const ss1_dtype y = hands_bf16 ? SS1_DTYPE_BF16 : SS1_DTYPE_F32;
        SS1_CHECK_OK(make_layer(from, first + i, 1, {x, y, is_last ? last : SS1_ACTIVATION_RELU}, out.emplace_back()));
        x = y;
    }
    return SS1_OK;
}

ss1_status load_layers(model_source &from, dlrm &out) {
    const size_t n_bottom = out.config.bottom_mlp.size() - 1, n_top = out.config.top_mlp.size(),
                 top = from.spec.n_layers - n_top;
    SS1_CHECK_OK(load_mlp(from, 0, n_bottom, SS1_ACTIVATION_RELU, out.bottom));
    for (size_t i = n_bottom; i < top; i += 2) {
        auto &[v, w] = out.cross.emplace_back();
        SS1_CHECK_OK(make_layer(from, i, 1, {SS1_DTYPE_F32, SS1_DTYPE_F32}, v));
        SS1_CHECK_OK(make_layer(from, i + 1, 1, {SS1_DTYPE_F32, SS1_DTYPE_F32}, w));
    }
    SS1_CHECK_OK(load_mlp(from, top, n_top, SS1_ACTIVATION_NONE, out.top));
    const auto keep = [&](const block_layer &layer) {
        const size_t bytes = round_up(layer.desc.N, 16) * size_of(static_cast<dtype>(layer.desc.y_dtype));
        out.hidden_bytes = std::max(out.hidden_bytes, bytes);
    };
    std::for_each(out.bottom.begin(), out.bottom.end(), keep);
    std::for_each(out.top.begin(), out.top.end(), keep);
    for (const auto &layers : out.cross) keep(layers[0]);
    return SS1_OK;
}

ss1_status create(model_source &from, std::shared_ptr<const void> &graph) {
    auto made = std::make_shared<dlrm>();
    SS1_CHECK_OK(read_config(from.spec, made->config));
    if (made->config.robe.size) return leave_to_core("ROBE-Z tables");
    if (made->config.tables.size() > most_tables) return leave_to_core("model of so many tables");
    SS1_CHECK_OK(load_tables(from, *made));
    SS1_CHECK_OK(load_layers(from, *made));
    made->vectors_ld = round_up(made->vectors() * made->config.embedding_dim, 16);
    made->top_ld = made->is_dot() ? round_up(made->config.interaction_width(), 16) : made->vectors_ld;
    graph = std::move(made);
    return SS1_OK;
}

// ---- sessions

size_t scratch_of(const dlrm &model, size_t rows) {
    size_t most = 0;
    const auto add = [&](const block_layer &layer) { most = std::max(most, device_scratch(layer.state.get(), rows)); };
    std::for_each(model.bottom.begin(), model.bottom.end(), add);
    std::for_each(model.top.begin(), model.top.end(), add);
    for (const auto &layers : model.cross) std::for_each(layers.begin(), layers.end(), add);
    return most;
}

std::shared_ptr<void> carve(const void *graph, size_t batch, size_t, carver &memory, carver &pinned) {
    const dlrm &model = *static_cast<const dlrm *>(graph);
    const size_t rows = std::min(batch, rows_at_once);
    auto a = std::make_shared<dlrm_activations>();
    a->bad_back = pinned.take<int>(2);
    a->bad = memory.take<int>(2);
    a->dense = memory.take<float>(batch, model.config.dense_features.size());
    a->shared = memory.take<float>(model.vectors_ld);
    a->items.offsets = memory.take<int64_t>(batch, model.items.rows.size());
    a->users.offsets = memory.take<int64_t>(batch, model.users.rows.size());
    a->vectors = memory.take<float>(rows, model.vectors_ld);
    a->top_x = model.is_dot() ? memory.take<float>(rows, model.top_ld) : a->vectors;
    for (size_t i = 0; i < 2; ++i)
        a->crossed[i] = model.cross.size() > i ? memory.take<float>(rows, model.vectors_ld) : nullptr;
    for (char *&hidden : a->hidden) hidden = memory.take_bytes(rows, model.hidden_bytes, 1);
    a->logits = memory.take<float>(batch);
    a->probability = memory.take<float>(batch);
    a->scratch = memory.take_bytes(scratch_of(model, rows), 1, 1);
    return a;
}

// ---- runs

struct dlrm_run {
    const dlrm &model;
    dlrm_activations &a;
    const run_place &place;
    cudaStream_t stream;
    bool dense_once, user_once;

    const ss1_tensor *in(int i) const { return place.run.inputs[i]; }
};

ss1_status upload(const dlrm_run &r, void *to, const ss1_tensor &from) {
    SS1_CUDA(cudaMemcpyAsync(to, from.data, from.bytes, cudaMemcpyDefault, r.stream));
    return SS1_OK;
}

ss1_status upload_growing(const dlrm_run &r, growing_memory &to, const ss1_tensor &from) {
    if (from.bytes > to.bytes) {
        to.memory = std::make_unique<device_buffer>();
        to.bytes = 0;
        SS1_CUDA(to.memory->allocate(from.bytes, r.place.memory.pool, r.stream));
        to.bytes = from.bytes;
    }
    return from.bytes ? upload(r, to.memory->as(), from) : SS1_OK;
}

ss1_status upload_bags(const dlrm_run &r, const side &of, bags_input &to) {
    if (of.rows.empty()) return SS1_OK;
    SS1_CHECK_OK(upload_growing(r, to.indices, *r.in(of.first)));
    SS1_CHECK_OK(upload(r, to.offsets, *r.in(of.first + 1)));
    return r.in(of.first + 2) ? upload_growing(r, to.weights, *r.in(of.first + 2)) : SS1_OK;
}

// Sums the bags of rows [b0, b0 + m) of the batch.
ss1_status look_up(const dlrm_run &r, const side &of, const bags_input &from, size_t b0, size_t m, float *vectors) {
    SS1_CUDA(
        sum_bags({.tables = of.on_device->as<device_table>(),
                  .n_tables = of.rows.size(),
                  .indices = from.indices.memory ? from.indices.memory->as<int64_t>() : nullptr,
                  .offsets = from.offsets,
                  .weights = r.in(of.first + 2) && from.weights.memory ? from.weights.memory->as<float>() : nullptr,
                  .total = static_cast<size_t>(r.in(of.first)->shape[0]),
                  .batch = static_cast<size_t>(r.in(of.first + 1)->shape[1]),
                  .b0 = b0,
                  .m = m,
                  .d = r.model.config.embedding_dim,
                  .y = vectors,
                  .ldy = r.model.vectors_ld,
                  .bad = r.a.bad + (&of == &r.model.items)},
                 r.stream));
    return SS1_OK;
}

// All layers of an MLP; the values between them lie in the two halves of `hidden`.
ss1_status run_mlp(const dlrm_run &r, const std::vector<block_layer> &layers, size_t m, const float *x, size_t ldx,
                   float *y, size_t ldy) {
    const void *from = x;
    for (size_t i = 0; i < layers.size(); ++i) {
        const bool last = i + 1 == layers.size();
        void *to = last ? static_cast<void *>(y) : r.a.hidden[i % 2];
        const size_t ld = last ? ldy : round_up(layers[i].desc.N, 16);
        SS1_CHECK_OK(run_layer(layers[i], {m, from, ldx, to, ld, r.a.scratch, r.stream}));
        from = to;
        ldx = ld;
    }
    return SS1_OK;
}

// x_{l+1} = x_0 * (W_l V_l x_l + b_l) + x_l. @return the last x
ss1_status run_cross_net(const dlrm_run &r, size_t m, const float *&x) {
    const size_t ld = r.model.vectors_ld, n = r.model.config.interaction_width();
    for (size_t l = 0; l < r.model.cross.size(); ++l) {
        const auto &[v, w] = r.model.cross[l];
        float *y = r.a.crossed[l % 2];
        const size_t rank_ld = round_up(v.desc.N, 16);
        SS1_CHECK_OK(run_layer(v, {m, x, ld, r.a.hidden[0], rank_ld, r.a.scratch, r.stream}));
        SS1_CHECK_OK(run_layer(w, {m, r.a.hidden[0], rank_ld, y, ld, r.a.scratch, r.stream}));
        SS1_CUDA(
            cross({.y = y, .x0 = r.a.vectors, .x = x, .m = m, .n = n, .ldy = ld, .ldx0 = ld, .ldx = ld}, r.stream));
        x = y;
    }
    return SS1_OK;
}

// Rows [b0, b0 + m) of the batch, from lookup to probability.
ss1_status run_rows(const dlrm_run &r, size_t b0, size_t m) {
    const dlrm &model = r.model;
    const dlrm_activations &a = r.a;
    const size_t D = model.config.dense_features.size(), d = model.config.embedding_dim, ld = model.vectors_ld;
    if (r.dense_once || r.user_once) SS1_CUDA(repeat_row(a.shared, ld, a.vectors, m, ld, r.stream));
    SS1_CHECK_OK(look_up(r, model.items, a.items, b0, m, a.vectors));
    if (!model.users.rows.empty() && !r.user_once) SS1_CHECK_OK(look_up(r, model.users, a.users, b0, m, a.vectors));
    if (!r.dense_once) SS1_CHECK_OK(run_mlp(r, model.bottom, m, a.dense + b0 * D, D, a.vectors, ld));
    if (model.is_dot())
        SS1_CUDA(interact({.t = a.vectors,
                           .z = a.top_x,
                           .batch = m,
                           .f = model.vectors(),
                           .d = d,
                           .ldt = ld,
                           .ldz = model.top_ld,
                           .itself = model.config.interaction_itself},
                          r.stream));
    const float *x = a.top_x;
    SS1_CHECK_OK(run_cross_net(r, m, x));
    SS1_CHECK_OK(run_mlp(r, model.top, m, x, model.top_ld, a.logits + b0, 1));
    const double t = model.config.loss_threshold;
    SS1_CUDA(finish_probability(a.logits + b0, a.probability + b0, m, static_cast<float>(t), static_cast<float>(1 - t),
                                r.stream));
    return SS1_OK;
}

ss1_status queue(const dlrm_run &r) {
    const size_t B = r.place.run.batch, D = r.model.config.dense_features.size();
    SS1_CUDA(cudaMemsetAsync(r.a.bad, 0, 2 * sizeof(int), r.stream));
    SS1_CHECK_OK(upload(r, r.a.dense, *r.in(dense_x)));
    SS1_CHECK_OK(upload_bags(r, r.model.items, r.a.items));
    SS1_CHECK_OK(upload_bags(r, r.model.users, r.a.users));
    if (r.user_once) SS1_CHECK_OK(look_up(r, r.model.users, r.a.users, 0, 1, r.a.shared));
    if (r.dense_once) SS1_CHECK_OK(run_mlp(r, r.model.bottom, 1, r.a.dense, D, r.a.shared, r.model.vectors_ld));
    for (size_t b = 0; b < B && !r.place.given_up(); b += rows_at_once)
        SS1_CHECK_OK(run_rows(r, b, std::min(rows_at_once, B - b)));
    SS1_CUDA(cudaMemcpyAsync(r.a.bad_back, r.a.bad, 2 * sizeof(int), cudaMemcpyDeviceToHost, r.stream));
    return SS1_OK;
}

// Which value of the inputs is bad. They are read where the caller has them: in host memory.
ss1_status name_bad(const dlrm_run &r, const side &of) {
    return pass_on(name_bad_bag({.indices = static_cast<const int64_t *>(r.in(of.first)->data),
                                 .offsets = static_cast<const int64_t *>(r.in(of.first + 1)->data),
                                 .tables = of.rows.size(),
                                 .batch = static_cast<size_t>(r.in(of.first + 1)->shape[1]),
                                 .total = static_cast<size_t>(r.in(of.first)->shape[0]),
                                 .prefix = of.prefix},
                                [&](size_t t) { return of.names[t]; }));
}

ss1_status run(const void *graph, void *activations, const run_place &place) {
    const dlrm &model = *static_cast<const dlrm *>(graph);
    const ss1_model_run &run = place.run;
    const auto is_once = [&](const ss1_tensor *tensor, size_t axis) {
        return static_cast<size_t>(tensor->shape[axis]) != run.batch;
    };
    const dlrm_run r = {.model = model,
                        .a = *static_cast<dlrm_activations *>(activations),
                        .place = place,
                        .stream = place.memory.stream,
                        .dense_once = is_once(run.inputs[dense_x], 0),
                        .user_once = !model.users.rows.empty() && is_once(run.inputs[user_offsets], 1)};
    if (place.given_up()) return SS1_OK;
    SS1_CHECK_OK(queue(r));
    const float *results[] = {r.a.probability, r.a.logits};
    SS1_CUDA(cudaStreamSynchronize(r.stream));
    if (place.given_up()) return SS1_OK;
    if (r.a.bad_back[0]) return name_bad(r, model.users);
    if (r.a.bad_back[1]) return name_bad(r, model.items);
    for (size_t i = 0; i < 2; ++i)
        if (run.outputs[i])
            SS1_CUDA(cudaMemcpyAsync(run.outputs[i]->data, results[i], run.batch * sizeof(float), cudaMemcpyDefault,
                                     r.stream));
    return SS1_OK;
}

}  // namespace

const model_family dlrm_family = {"dlrm", create, carve, run};

}  // namespace ss1::cuda
