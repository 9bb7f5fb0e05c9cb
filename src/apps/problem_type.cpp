// SPDX-License-Identifier: Apache-2.0
#include "apps/problem_type.hpp"

#include "apps/json.hpp"

namespace ss1::apps {

problem_type problem_of(const model_handle &model, size_t scores) {
    const json problem = json::parse(describe(model).config).value("problem_type", json());
    if (problem == "regression") return problem_type::value;
    return problem == "multi_label_classification" || scores == 1 ? problem_type::any_labels : problem_type::one_label;
}

}  // namespace ss1::apps
