// SPDX-License-Identifier: Apache-2.0
#include "apps/model_rows.hpp"

#include <map>

#include "apps/failure.hpp"

namespace ss1::apps {
namespace {

template <class T>
ss1_tensor to_tensor(const char *name, ss1_dtype dtype, const std::vector<T> &values,
                     std::initializer_list<size_t> shape) {
    ss1_tensor tensor = SS1_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    for (const size_t size : shape) tensor.shape[tensor.rank++] = static_cast<int64_t>(size);
    tensor.data = const_cast<T *>(values.data());  // the library never writes to inputs
    tensor.bytes = values.size() * sizeof(T);
    return tensor;
}

}  // namespace

ss1_tensor input_tensor(const char *name, const std::vector<float> &values, std::initializer_list<size_t> shape) {
    return to_tensor(name, SS1_DTYPE_F32, values, shape);
}

ss1_tensor input_tensor(const char *name, const std::vector<int64_t> &values, std::initializer_list<size_t> shape) {
    return to_tensor(name, SS1_DTYPE_I64, values, shape);
}

ss1_tensor row_output::tensor(float *values, size_t rows) const {
    ss1_tensor tensor = SS1_TENSOR_INIT;
    tensor.name = name.c_str();
    tensor.dtype = SS1_DTYPE_F32;
    tensor.data = values;
    tensor.bytes = rows * width * sizeof(float);
    return tensor;
}

namespace {

// The number of values that each output has for one row.
std::map<std::string, size_t> output_widths(const model_handle &model) {
    std::map<std::string, size_t> widths;
    for (const ss1_tensor &tensor : outputs_of(model)) {
        if (tensor.rank == 3) continue;  // an output of tokens, not of rows
        widths[tensor.name] = tensor.rank == 1 ? 1 : static_cast<size_t>(tensor.shape[tensor.rank - 1]);
    }
    return widths;
}

}  // namespace

bool gives_probability(const model_handle &model) {
    return output_widths(model).contains("probability");
}

row_output choose_output(const model_handle &model) {
    const std::map<std::string, size_t> widths = output_widths(model);
    for (const char *name : {"probability", "logits", "sentence_embedding", "pooled"})
        if (const auto found = widths.find(name); found != widths.end()) return {found->first, found->second};
    throw failure(
        "the model has neither a classifier of rows nor a pooler or pooling, so it has no output for a whole row",
        "use a model with pooler.dense or classifier weights, or a directory of sentence-transformers");
}

}  // namespace ss1::apps
