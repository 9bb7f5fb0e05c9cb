// SPDX-License-Identifier: Apache-2.0
// Reads and writes the rows of embedding tables in any format.
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

// Converts a row of finite values: rounds to nearest even, or quantises by the smallest and largest value as FBGEMM
// does. @return false if they do not fit the format (f16, and scale and bias of int4, end at 65504).
bool encode_row(row_format format, std::span<const float> values, std::byte *row) noexcept;

// Passes all rows of a tensor to `take` in order, several at a time: unchanged if the file holds quantised rows, else
// converted from f32, bf16 or f16; drawn if the weights of the directory are random. Every value is finite. @return
// SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_INVALID_ARGUMENT for values that do not fit the format; any error of `take`.
ss1_status read_table(const model_directory &directory, const model_tensor &tensor, const table_shape &shape,
                      const std::function<ss1_status(std::span<const std::byte>)> &take);

}  // namespace ss1
