// SPDX-License-Identifier: Apache-2.0
// Embedding tables of a model directory in any format of rows.
#pragma once
#include <functional>
#include <span>

#include "io/model_directory.hpp"
#include "kernels.hpp"

namespace ss1 {

struct table_shape {
    size_t rows, d;
    row_format format;

    size_t row_bytes() const noexcept { return ss1::row_bytes(format, d); }
};

// Writes a row of finite values: rounded to nearest even, or quantised by its smallest and largest value as FBGEMM does
// it. False if they do not fit the format (f16, and scale and bias of int4, end at 65504).
bool encode_row(row_format format, std::span<const float> values, std::byte *row) noexcept;

// Hands all rows of a tensor to `take`, some at a time, in order: as they are where the file holds quantised ones, else
// converted from f32, bf16 or f16; drawn if the directory's weights are. Every value is finite.
// @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_INVALID_ARGUMENT for values that do not fit the format; what take
// returns.
ss1_status read_table(const model_directory &directory, const model_tensor &tensor, const table_shape &shape,
                      const std::function<ss1_status(std::span<const std::byte>)> &take);

}  // namespace ss1
