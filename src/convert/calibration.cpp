// SPDX-License-Identifier: Apache-2.0
#include "convert/calibration.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/abi.hpp"
#include "base/span.hpp"
#include "half.hpp"
#include "model/model.hpp"

ss1_calibration::ss1_calibration(ss1_model &of) : model(&of), sums(of.info.n_layers), reads(of.info.n_layers) {
    for (size_t i = 0; i < reads.size(); ++i) {
        ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
        static_cast<void>(ss1::model_layer(of, i, info));  // there is a layer i
        sums[i].K = info.layer.desc.K;
        reads[i] = i;
    }
    ss1::model_retain(model);
}

ss1_calibration::~ss1_calibration() {
    ss1::model_release(model);
}

namespace ss1 {
namespace {

constexpr size_t block_rows = 1024;  // whose products are summed in f32
constexpr size_t panel = 512;        // columns of the products made at a time: 6 MB for K = 3072

ss1_status check_rows(const ss1_calibration &calibration, const ss1_layer_rows &rows) {
    const size_t n = calibration.sums.size();
    SS1_CHECK(rows.n_layers >= 1 && rows.first_layer < n && rows.n_layers <= n - rows.first_layer,
              SS1_ERROR_INVALID_ARGUMENT, "rows.first_layer=%zu, n_layers=%zu: the model has %zu layers",
              rows.first_layer, rows.n_layers, n);
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    for (size_t i = rows.first_layer; i < rows.first_layer + rows.n_layers; ++i) {
        SS1_TRY(model_layer(*calibration.model, i, info));
        SS1_CHECK(rows.K == info.layer.desc.K, SS1_ERROR_INVALID_ARGUMENT, "rows.K=%zu: layer %s has K=%zu", rows.K,
                  info.name, info.layer.desc.K);
    }
    SS1_CHECK(rows.x_dtype == SS1_DTYPE_F32 || rows.x_dtype == SS1_DTYPE_BF16, SS1_ERROR_INVALID_ARGUMENT,
              "rows.x_dtype=%d is neither f32 nor bf16", static_cast<int>(rows.x_dtype));
    SS1_CHECK(rows.ldx >= rows.K, SS1_ERROR_INVALID_ARGUMENT, "rows.ldx=%zu is below K=%zu", rows.ldx, rows.K);
    if (rows.m == 0) return SS1_OK;
    SS1_CHECK(rows.x, SS1_ERROR_INVALID_ARGUMENT, "rows.x is NULL");
    memory_span x{};
    return matrix_span("rows.x", rows.x, rows.m, rows.K, rows.ldx, x, rows.x_dtype == SS1_DTYPE_BF16 ? 2 : 4);
}

// Writes `count` rows from `begin` on as columns: to [K, count].
ss1_status transpose(const ss1_calibration &calibration, const ss1_layer_rows &rows, size_t begin, size_t count,
                     float *to) {
    for (size_t i = 0; i < count; ++i) {
        const size_t from = (begin + i) * rows.ldx;
        for (size_t k = 0; k < rows.K; ++k) {
            const float value = rows.x_dtype == SS1_DTYPE_BF16
                                    ? bf16_to_f32(static_cast<const uint16_t *>(rows.x)[from + k])
                                    : static_cast<const float *>(rows.x)[from + k];
            if (!std::isfinite(value)) {
                ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
                SS1_TRY(model_layer(*calibration.model, rows.first_layer, info));
                return fail(SS1_ERROR_INVALID_ARGUMENT, "layer %s reads x[%zu,%zu]=%g, which is not finite", info.name,
                            begin + i, k, static_cast<double>(value));
            }
            to[k * count + i] = value;
        }
    }
    return SS1_OK;
}

// Adds x^T x of x^T [K, count]: a dense layer whose inputs and weights are both columns of x makes the products.
ss1_status add_products(ss1_context &context, const float *columns, size_t count, input_sums &sums) {
    const size_t K = sums.K;
    buffer products, scratch;
    SS1_TRY(products.allocate(context, K * std::min(K, panel) * sizeof(float)));
    for (size_t n0 = 0; n0 < K; n0 += panel) {
        const size_t n = std::min(panel, K - n0), m = K - n0;  // the rows above are in the upper triangle
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = count;
        desc.N = n;
        desc.c = 1;
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = columns + n0 * count;
        ss1_layer *created = nullptr;
        SS1_TRY(layer_create(context, desc, weights, &created));
        const std::unique_ptr<ss1_layer> layer(created);
        if (const size_t bytes = layer_bytes(context, *layer, m); bytes > scratch.bytes())
            SS1_TRY(scratch.allocate(context, bytes));
        auto *y = products.as<float>();
        SS1_TRY(layer_run(context, *layer, linear_args(m, columns + n0 * count, count, y, n, scratch.data())));
        parallel_ranges(context, m, 3 * n, [&](size_t begin, size_t end) {
            for (size_t i = begin; i < end; ++i) {
                double *to = sums.products.data() + (n0 + i) * K + n0;
                for (size_t j = 0; j < n; ++j) to[j] += static_cast<double>(y[i * n + j]);
            }
        });
    }
    return SS1_OK;
}

ss1_status add_rows(ss1_calibration &calibration, const ss1_layer_rows &rows) {
    SS1_TRY(check_rows(calibration, rows));
    if (rows.m == 0) return SS1_OK;
    ss1_context &context = *calibration.model->context;
    std::fill_n(calibration.reads.begin() + static_cast<std::ptrdiff_t>(rows.first_layer), rows.n_layers,
                rows.first_layer);
    input_sums &sums = calibration.sums[rows.first_layer];
    sums.sum.resize(rows.K);
    sums.products.resize(rows.K * rows.K);
    buffer columns;
    SS1_TRY(columns.allocate(context, rows.K * std::min(rows.m, block_rows) * sizeof(float)));
    for (size_t begin = 0; begin < rows.m; begin += block_rows) {
        const size_t count = std::min(block_rows, rows.m - begin);
        auto *x = columns.as<float>();
        SS1_TRY(transpose(calibration, rows, begin, count, x));
        SS1_TRY(add_products(context, x, count, sums));
        for (size_t k = 0; k < rows.K; ++k)
            for (size_t i = 0; i < count; ++i) sums.sum[k] += static_cast<double>(x[k * count + i]);
        sums.rows += count;
    }
    return SS1_OK;
}

// How far the second moment, scaled to a diagonal of ones, has moved since the last call.
double change_of(input_sums &sums) {
    const size_t K = sums.K;
    double moved = 0, all = 0;
    const auto scaled = [K](const std::vector<double> &products, size_t i, size_t j) {
        const double energy = products[i * K + i] * products[j * K + j];
        return energy > 0 ? products[i * K + j] / std::sqrt(energy) : 0.0;
    };
    for (size_t i = 0; i < K; ++i)
        for (size_t j = 0; j <= i; ++j) {
            const double now = scaled(sums.products, i, j), weight = i == j ? 1 : 2;
            const double before = sums.last_rows ? scaled(sums.last_products, i, j) : 0.0;
            moved += weight * (now - before) * (now - before);
            all += weight * now * now;
        }
    return all > 0 ? std::sqrt(moved / all) : 0.0;
}

}  // namespace

void calibration_observe(ss1_calibration &calibration, const ss1_layer_rows *given) noexcept {
    if (calibration.status != SS1_OK) return;
    calibration.status = guarded(nullptr, [&] {
        SS1_CHECK(given, SS1_ERROR_INVALID_ARGUMENT, "rows is NULL");
        ss1_layer_rows rows;
        SS1_TRY(take_struct(given, "rows", rows));
        const float_mode mode;
        return add_rows(calibration, rows);
    });
    if (calibration.status != SS1_OK)
        std::snprintf(calibration.message, sizeof calibration.message, "%s", last_error());
}

ss1_status calibration_sums(const ss1_calibration &calibration, const char *layer, const input_sums *&out) {
    SS1_CHECK(calibration.status == SS1_OK, calibration.status, "%s", calibration.message);
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    for (size_t i = 0; i < calibration.sums.size(); ++i) {
        SS1_TRY(model_layer(*calibration.model, i, info));
        if (std::strcmp(info.name, layer)) continue;
        out = &calibration.sums[calibration.reads[i]];
        return SS1_OK;
    }
    return fail(SS1_ERROR_INVALID_ARGUMENT, "layer='%.100s': the model has no linear layer of this name", layer);
}

ss1_status calibration_layer(const ss1_calibration &calibration, const char *layer, ss1_layer_statistics &out) {
    const input_sums *sums = nullptr;
    SS1_TRY(calibration_sums(calibration, layer, sums));
    const size_t K = out.K = sums->K;
    out.rows = sums->rows;
    for (size_t k = 0; out.mean && k < K; ++k)
        out.mean[k] = sums->rows ? static_cast<float>(sums->sum[k] / static_cast<double>(sums->rows)) : 0.0f;
    for (size_t i = 0; out.second_moment && i < K * K; ++i)
        out.second_moment[i] = sums->rows ? static_cast<float>(sums->moment(i / K, i % K)) : 0.0f;
    return SS1_OK;
}

ss1_status calibration_change(ss1_calibration &calibration, double &change) {
    SS1_CHECK(calibration.status == SS1_OK, calibration.status, "%s", calibration.message);
    double largest = 0;
    for (input_sums &sums : calibration.sums)
        sums.last_products.reserve(sums.products.size());  // from here on nothing can fail
    for (input_sums &sums : calibration.sums) {
        if (sums.rows == 0) continue;
        largest = std::max(largest, change_of(sums));
        sums.last_products = sums.products;
        sums.last_rows = sums.rows;
    }
    change = largest;
    return SS1_OK;
}

}  // namespace ss1
