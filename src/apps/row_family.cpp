// SPDX-License-Identifier: Apache-2.0
#include "apps/row_family.hpp"

#include <algorithm>
#include <string_view>

#include "apps/bert_rows.hpp"
#include "apps/dlrm_rows.hpp"
#include "apps/failure.hpp"

namespace ss1::apps {
namespace {

template <class Rows>
std::unique_ptr<model_rows> make(const ss1_model_info &model) {
    return std::make_unique<Rows>(model);
}

constexpr row_family families[] = {
    {.name = "dlrm",
     .title = "DLRM",
     .default_batch = 256,
     .has_tokens = false,
     .has_users = true,
     .make_rows = make<dlrm_rows>},
    {.name = "bert",
     .title = "BERT",
     .default_batch = 8,
     .has_tokens = true,
     .has_users = false,
     .make_rows = make<bert_rows>},
};

}  // namespace

const row_family &family_of(const model_handle &model) {
    const std::string_view name = describe(model).family;
    for (const row_family &family : families)
        if (name == family.name) return family;
    if (name == "static") throw failure("static embeddings have no rows: they take texts", "use ss1 embed");
    throw failure("this version of ss1 reads no rows for models of the family " + std::string(name), "use a newer one");
}

size_t default_batch(const model_handle &model, size_t max_tokens) {
    const row_family &family = family_of(model);
    constexpr size_t tokens = 4096;
    return family.has_tokens ? std::clamp<size_t>(tokens / std::max<size_t>(max_tokens, 1), 1, family.default_batch)
                             : family.default_batch;
}

}  // namespace ss1::apps
