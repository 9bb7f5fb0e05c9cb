// SPDX-License-Identifier: Apache-2.0
#include "convert/expand_layer.hpp"

#include <algorithm>

#include "base/span.hpp"
#include "base/status.hpp"
#include "mapping/mapping.hpp"
#include "mapping/project.hpp"
#include "model/layers.hpp"

namespace ss1 {

ss1_status expand_layer(const ss1_context &context, const char *directory, const ss1_model_options &load,
                        const char *layer, float *weight, size_t ldw) {
    model_directory source;
    SS1_TRY(model_directory_open(directory, load, source));
    SS1_TRY(model_directory_check(source));
    const std::vector<linear_shape> layers = linear_layers(source.config);
    const auto found = std::ranges::find(layers, std::string_view(layer), &linear_shape::name);
    SS1_CHECK(found != layers.end(), SS1_ERROR_INVALID_ARGUMENT, "layer='%.100s': %s has no linear layer of this name",
              layer, source.path.c_str());
    linear_shape shape = *found;
    shape.has_bias = false;  // it is not wanted
    ss1_linear_desc desc = desc_of(source, shape);
    SS1_TRY(resolve_for("layer " + shape.name, SS1_ERROR_FORMAT, desc));
    SS1_CHECK(ldw == 0 || ldw >= desc.K, SS1_ERROR_INVALID_ARGUMENT, "ldw=%zu is below K=%zu", ldw, desc.K);
    if (ldw == 0) ldw = desc.K;
    memory_span to{};
    SS1_TRY(matrix_span("weight", weight, desc.N, desc.K, ldw, to));
    layer_weights stored;
    SS1_TRY(read_weights(context, source, {&shape, 1}, desc, stored));
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = stored.z.as<float>();
    weights.ldz = mapping(desc).stored_columns;
    weights.u = stored.u.as<float>();
    weights.v = stored.v.as<float>();
    expand(desc, weights, weight, ldw);
    return SS1_OK;
}

}  // namespace ss1
