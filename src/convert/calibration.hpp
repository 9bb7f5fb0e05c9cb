// SPDX-License-Identifier: Apache-2.0
// Sums over the inputs of a model's linear layers: means and second moments.
#pragma once
#include <algorithm>
#include <vector>

#include "ss1/ss1.h"

namespace ss1 {

// Sums over the rows of one layer, or of several that read the same rows.
struct input_sums {
    size_t rows = 0, K = 0;
    std::vector<double> sum;            // [K]
    std::vector<double> products;       // [K, K]: the lower triangle counts
    std::vector<double> last_products;  // those of the last ss1_calibration_change()
    size_t last_rows = 0;

    // E[x_i x_j].
    double moment(size_t i, size_t j) const noexcept {
        return products[std::max(i, j) * K + std::min(i, j)] / static_cast<double>(rows);
    }
};

}  // namespace ss1

struct ss1_calibration {
    ss1_model *model = nullptr;
    std::vector<ss1::input_sums> sums;  // by the first layer that reads the rows
    std::vector<size_t> reads;          // of which sums each layer reads the rows
    ss1_status status = SS1_OK;         // the first error
    char message[1024] = "";            // of it; an array, because memory may have run out

    explicit ss1_calibration(ss1_model &of);
    ss1_calibration(const ss1_calibration &) = delete;
    ss1_calibration &operator=(const ss1_calibration &) = delete;
    ~ss1_calibration();
};

namespace ss1 {

// Keeps the first error. `rows` are the caller's.
void calibration_observe(ss1_calibration &calibration, const ss1_layer_rows *rows) noexcept;
// Finds the sums of a layer; fails with the first error that the calibration met.
ss1_status calibration_sums(const ss1_calibration &calibration, const char *layer, const input_sums *&out);
ss1_status calibration_layer(const ss1_calibration &calibration, const char *layer, ss1_layer_statistics &out);
ss1_status calibration_change(ss1_calibration &calibration, double &change);

}  // namespace ss1
