// SPDX-License-Identifier: Apache-2.0
#include "convert/convert_options.hpp"

#include <utility>

#include "base/status.hpp"

namespace ss1 {

bool tables_alone(const ss1_convert_options &options) noexcept {
    return options.tables != SS1_TABLE_DEFAULT && options.desc->c == 0 && !reforms(options) &&
           options.desc->weight_dtype == SS1_DTYPE_DEFAULT;
}

namespace {

// Checks the fields that say which form the layers get, and from what.
ss1_status check_form(const ss1_convert_options &options) {
    const ss1_linear_desc &desc = *options.desc;
    const bool from_dense = options.from == SS1_CONVERT_FROM_DENSE, has_rank = desc.rank || options.share > 0;
    SS1_CHECK(options.share >= 0 && options.share < 1, SS1_ERROR_INVALID_ARGUMENT, "options.share=%g is not in [0, 1)",
              options.share);
    SS1_CHECK(!desc.rank || !(options.share > 0), SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.rank=%zu and share=%g: one of them must be 0", desc.rank, options.share);
    SS1_CHECK(
        !has_rank || (from_dense && desc.c != 1), SS1_ERROR_INVALID_ARGUMENT,
        "options.desc.rank=%zu, share=%g: a low-rank part needs SS1_CONVERT_FROM_DENSE, and c=0 or c >= 2 beside it",
        desc.rank, options.share);
    SS1_CHECK(
        !options.calibration || (reforms(options) && from_dense), SS1_ERROR_INVALID_ARGUMENT,
        "options.calibration serves to fit dense layers: from must be SS1_CONVERT_FROM_DENSE, and desc.c at least 2 "
        "or rank or share be given");
    SS1_CHECK(options.calibration || !options.min_rows, SS1_ERROR_INVALID_ARGUMENT,
              "options.min_rows=%zu: there is no calibration", options.min_rows);
    return SS1_OK;
}

// Where `form` says what the layers get, nothing else may.
ss1_status check_form_alone(const ss1_convert_options &options) {
    const ss1_linear_desc &desc = *options.desc;
    SS1_CHECK(options.from == SS1_CONVERT_FROM_DENSE, SS1_ERROR_INVALID_ARGUMENT,
              "options.form is set: from=%d must be SS1_CONVERT_FROM_DENSE", static_cast<int>(options.from));
    SS1_CHECK(
        !desc.c && !desc.rank && !desc.weight_dtype && !options.layers && !(options.share > 0),
        SS1_ERROR_INVALID_ARGUMENT,
        "options.form says the form of each layer: desc.c=%u, rank=%zu, weight_dtype=%d, layers and share must be 0",
        desc.c, desc.rank, static_cast<int>(desc.weight_dtype));
    return SS1_OK;
}

}  // namespace

ss1_status check_options(const ss1_convert_options &options) {
    const ss1_linear_desc &desc = *options.desc;
    SS1_CHECK(options.from == SS1_CONVERT_FROM_DENSE || options.from == SS1_CONVERT_FROM_SSL,
              SS1_ERROR_INVALID_ARGUMENT, "options.from=%d is not a value of ss1_convert_from",
              static_cast<int>(options.from));
    for (const auto &[type, field] : {std::pair(desc.x_dtype, "x_dtype"), {desc.y_dtype, "y_dtype"}})
        SS1_CHECK(type == SS1_DTYPE_DEFAULT || type == SS1_DTYPE_F32, SS1_ERROR_UNSUPPORTED,
                  "options.desc.%s=%d: leave it 0, the model decides the types of inputs and outputs", field,
                  static_cast<int>(type));
    SS1_CHECK(!desc.activation && !desc.K && !desc.N, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.activation=%d, K=%zu, N=%zu: must be 0, the layers of the model have their own",
              static_cast<int>(desc.activation), desc.K, desc.N);
    SS1_CHECK(options.load->weight_dtype == SS1_DTYPE_DEFAULT, SS1_ERROR_INVALID_ARGUMENT,
              "options.load.weight_dtype=%d: the type to write is options.desc.weight_dtype",
              static_cast<int>(options.load->weight_dtype));
    SS1_CHECK(options.tables >= SS1_TABLE_DEFAULT && options.tables <= SS1_TABLE_INT4, SS1_ERROR_INVALID_ARGUMENT,
              "options.tables=%d is not a value of ss1_table_dtype", static_cast<int>(options.tables));
    if (options.form) SS1_TRY(check_form_alone(options));
    SS1_TRY(check_form(options));
    const bool dtype_alone = options.from == SS1_CONVERT_FROM_DENSE && desc.weight_dtype != SS1_DTYPE_DEFAULT;
    SS1_CHECK(reforms(options) || dtype_alone || tables_alone(options), SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.c=%u: c must be given and at least 2, or a rank, a share or weight_dtype be given", desc.c);
    SS1_CHECK(!tables_alone(options) || !options.layers, SS1_ERROR_INVALID_ARGUMENT,
              "options.layers='%.100s': neither desc.c nor desc.weight_dtype says what to do with them",
              options.layers);
    if (desc.c < 2)
        SS1_CHECK(!desc.scheme && !desc.seed && !desc.block_k && !desc.block_n && !desc.step,
                  SS1_ERROR_INVALID_ARGUMENT,
                  "options.desc.c=%u ties no layer: scheme, seed, block_k, block_n and step must be 0", desc.c);
    if (options.from == SS1_CONVERT_FROM_DENSE) return SS1_OK;
    SS1_CHECK(desc.scheme == SS1_SCHEME_REFERENCE, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.scheme=%d: SSL checkpoints are made with SS1_SCHEME_REFERENCE=%d",
              static_cast<int>(desc.scheme), static_cast<int>(SS1_SCHEME_REFERENCE));
    SS1_CHECK(desc.seed != 0, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.seed is missing: an SSL checkpoint does not hold it");
    SS1_CHECK(desc.block_k != 0, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.block_k is missing: an SSL checkpoint does not hold it");
    SS1_CHECK(desc.block_n != 0, SS1_ERROR_INVALID_ARGUMENT,
              "options.desc.block_n is missing: an SSL checkpoint does not hold it");
    SS1_CHECK(!options.load->random_weights, SS1_ERROR_INVALID_ARGUMENT,
              "options.load.random_weights: an SSL checkpoint is read, not drawn");
    return SS1_OK;
}

}  // namespace ss1
