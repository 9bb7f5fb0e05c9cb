// SPDX-License-Identifier: Apache-2.0
// The linear layers and tensors of a configuration.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace ss1 {

// One linear layer of the model, tied or dense. `optional`: a checkpoint may lack it. `once_a_sequence`: it reads one
// row for all tokens of a sequence.
struct linear_shape {
    std::string name;
    size_t K, N;
    bool has_bias;
    bool optional;
    bool once_a_sequence = false;
};

// One tensor that the model reads, by canonical name. `layer` is its linear layer, "" if it has none.
struct tensor_spec {
    std::string name;
    std::vector<size_t> shape;
    std::string layer;
    bool optional;
    bool quantised = false;  // rows of bytes (U8) instead of numbers
};

}  // namespace ss1
