// SPDX-License-Identifier: Apache-2.0
// The dense layer that an SS1 layer is measured against and checked with. dense_baseline.cpp runs oneDNN;
// dense_plain.cpp stands in where there is none: it checks, but is not worth timing.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

#include "ss1/ss1.h"

namespace ss1::cli {

// y[m,n] = act(x[m,k] . weight[n,k]^T + bias[n]), all f32 and row-major without gaps; x and y keep their place.
struct dense_problem {
    size_t m, k, n;
    ss1_activation activation;
    const float *weight, *bias, *x;
    float *y;
};

// Name and version of the library that runs the dense layer, "" if it is not one to compare with.
std::string dense_library();

class dense_baseline {
  public:
    // `copies` of the weights, each packed as the library likes best.
    dense_baseline(const dense_problem &problem, size_t copies, uint32_t threads);
    ~dense_baseline();
    dense_baseline(const dense_baseline &) = delete;
    dense_baseline &operator=(const dense_baseline &) = delete;

    void run(size_t copy);

  private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace ss1::cli
