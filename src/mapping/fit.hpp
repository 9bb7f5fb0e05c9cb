// SPDX-License-Identifier: Apache-2.0
// Closed forms: the parts T(Z) and V U of a layer that stand best for a dense weight on inputs of known moments.
#pragma once
#include <vector>

#include "ss1/ss1.h"

namespace ss1 {

// A dense layer, [N, K] as PyTorch stores it, and the moments of its inputs.
struct dense_layer {
    size_t N, K;
    const float *weight;
    size_t ldw;
    const double *second;  // E[x^T x], [K, K]; NULL: inputs of equal size, uncorrelated
    const double *mean;    // E[x], [K], if the bias may be corrected, else NULL; needs `second`
};

// z [N, Kz], u [N, rank], v [rank, K], and what the bias needs beside its own value; empty parts are not there.
struct fitted_layer {
    std::vector<float> z, u, v, bias;
    double error;  // mean square of the outputs' difference over that of the outputs (with a bias: over their variance)
};

// Fits T(Z) alone, without its error.
ss1_status fit_tied(const dense_layer &layer, const ss1_linear_desc &desc, std::vector<float> &z);

// Fits T(Z) of the resolved desc `tied` (NULL: no tied part), V U of `rank` (0: none), or both in four alternations.
// Fails with SS1_ERROR_INVALID_ARGUMENT if `second` is not finite and positive semidefinite.
ss1_status fit_layer(const dense_layer &layer, const ss1_linear_desc *tied, size_t rank, fitted_layer &out);

}  // namespace ss1
