// SPDX-License-Identifier: Apache-2.0
#include "io/table_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/float_mode.hpp"
#include "base/status.hpp"
#include "half.hpp"

namespace ss1 {
namespace {

constexpr size_t block_bytes = size_t{256} << 10;  // of rows read at once, and of rows converted at once

template <class T>
T load(const std::byte *p) noexcept {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

template <class T>
void store(std::byte *p, T value) noexcept {
    std::memcpy(p, &value, sizeof value);
}

bool is_finite_f16(uint16_t h) noexcept {
    return (h & 0x7c00u) != 0x7c00u;
}

// Gives the same bytes as FBGEMM's FloatOrHalfToFused8BitRowwiseQuantizedSBFloat, whose epsilon it has.
bool encode_int8(std::span<const float> values, std::byte *row) noexcept {
    constexpr float epsilon = 1e-8f;
    const auto [low, high] = std::ranges::minmax(values);
    const float range = high - low, inverse = 255.0f / (range + epsilon);
    if (!std::isfinite(range)) return false;
    for (size_t j = 0; j < values.size(); ++j) row[j] = static_cast<std::byte>(std::lrint((values[j] - low) * inverse));
    store(row + values.size(), range / 255.0f);
    store(row + values.size() + 4, low);
    return true;
}

// Does as FBGEMM's FloatOrHalfToFusedNBitRowwiseQuantizedSBHalf with 4 bits: subtracts the rounded bias before it
// rounds.
bool encode_int4(std::span<const float> values, std::byte *row) noexcept {
    const auto [low, high] = std::ranges::minmax(values);
    const uint16_t bias = f16_from_f32(low);
    const float start = f16_to_f32(bias), range = high - start;
    uint16_t scale = f16_from_f32(range == 0 ? 1.0f : range / 15.0f);
    if (scale == 0 || std::isinf(1.0f / f16_to_f32(scale))) scale = f16_from_f32(1.0f);
    const float inverse = 1.0f / f16_to_f32(scale);
    const size_t bytes = (values.size() + 1) / 2;
    std::fill_n(row, bytes, std::byte{0});
    if (!is_finite_f16(bias) || !is_finite_f16(scale)) return false;
    for (size_t j = 0; j < values.size(); ++j) {
        const long q = std::clamp(std::lrint((values[j] - start) * inverse), 0L, 15L);
        row[j / 2] |= static_cast<std::byte>(j % 2 ? q << 4 : q);
    }
    store(row + bytes, scale);
    store(row + bytes + 2, bias);
    return true;
}

bool is_finite_row(row_format format, const std::byte *row, size_t d) noexcept {
    if (format == row_format::int8)
        return std::isfinite(load<float>(row + d)) && std::isfinite(load<float>(row + d + 4));
    const std::byte *scale = row + (d + 1) / 2;
    return is_finite_f16(load<uint16_t>(scale)) && is_finite_f16(load<uint16_t>(scale + 2));
}

ss1_status check_rows(const model_directory &directory, const model_tensor &tensor, const table_shape &shape,
                      size_t first, std::span<const std::byte> rows) {
    for (size_t i = 0; i < rows.size() / shape.row_bytes(); ++i)
        SS1_CHECK(is_finite_row(shape.format, rows.data() + i * shape.row_bytes(), shape.d), SS1_ERROR_FORMAT,
                  "%s: tensor '%s': scale or bias of row %zu is not finite", directory.path.c_str(),
                  tensor.name.c_str(), first + i);
    return SS1_OK;
}

}  // namespace

bool encode_row(row_format format, std::span<const float> values, std::byte *row) noexcept {
    bool fits = true;
    switch (format) {
        case row_format::int8:
            return encode_int8(values, row);
        case row_format::int4:
            return encode_int4(values, row);
        case row_format::bf16:
            for (size_t j = 0; j < values.size(); ++j) {
                const uint16_t h = bf16_from_f32(values[j]);
                fits &= std::isfinite(bf16_to_f32(h));
                store(row + 2 * j, h);
            }
            return fits;
        case row_format::f16:
            for (size_t j = 0; j < values.size(); ++j) {
                const uint16_t h = f16_from_f32(values[j]);
                fits &= is_finite_f16(h);
                store(row + 2 * j, h);
            }
            return fits;
        default:
            std::memcpy(row, values.data(), values.size_bytes());
            return true;
    }
}

ss1_status read_table(const model_directory &directory, const model_tensor &tensor, const table_shape &shape,
                      const std::function<ss1_status(std::span<const std::byte>)> &take) {
    const default_float_mode mode;  // rounds to nearest and keeps denormals
    const bool as_it_is = tensor.stored.dtype == file_dtype::u8 && !directory.random;
    const size_t row = shape.row_bytes(), step = std::max<size_t>(1, block_bytes / (4 * shape.d));
    std::vector<std::byte> rows(step * row);
    std::vector<float> values(as_it_is ? 0 : step * shape.d);
    for (size_t first = 0; first < shape.rows; first += step) {
        const size_t count = std::min(step, shape.rows - first);
        const std::span<std::byte> part(rows.data(), count * row);
        if (as_it_is) {
            SS1_TRY(safetensors_read(directory.files[tensor.file], tensor.stored, first * row, part));
            SS1_TRY(check_rows(directory, tensor, shape, first, part));
        } else {
            SS1_TRY(tensor_f32_part(directory, tensor, first * shape.d, std::span(values).first(count * shape.d)));
            for (size_t i = 0; i < count; ++i)
                SS1_CHECK(
                    encode_row(shape.format, std::span(values).subspan(i * shape.d, shape.d), part.data() + i * row),
                    SS1_ERROR_INVALID_ARGUMENT,
                    "%s: tensor '%s': the values of row %zu do not fit the table's dtype %s", directory.path.c_str(),
                    tensor.name.c_str(), first + i, table_dtype_name(shape.format));
        }
        SS1_TRY(take(part));
    }
    return SS1_OK;
}

}  // namespace ss1
