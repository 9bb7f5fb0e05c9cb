// SPDX-License-Identifier: Apache-2.0
#include "model/families.hpp"

#include <algorithm>
#include <type_traits>

#include "model/bert.hpp"
#include "model/dlrm.hpp"
#include "model/static.hpp"

namespace ss1 {
namespace {

template <class T>
const T &as(const void *p) noexcept {
    return *static_cast<const T *>(p);
}

template <class G>
ss1_status update_table(void *g, const ss1_update_rows_args &args) {
    return update_rows(static_cast<G *>(g)->tables, args);
}

template <class G>
constexpr auto updater() -> decltype(model_family::update_rows) {
    if constexpr (requires(G g) { g.tables; })
        return update_table<G>;
    else
        return nullptr;
}

// Makes the row of graph G from the overloads for G.
template <class G>
constexpr model_family row_of(const family_files &files) {
    using A = typename G::activations;
    static_assert(std::is_trivially_copyable_v<A>);
    return {
        .files = &files,
        .stages = G::stages,
        .make = []() -> std::shared_ptr<void> { return std::make_shared<G>(); },
        .prepare = [](const model_directory &from, void *g) { return prepare(from, *static_cast<G *>(g)); },
        .load = [](ss1_context &context, const model_directory &from,
                   void *g) { return load(context, from, *static_cast<G *>(g)); },
        .input_slots = [](const void *g) { return input_slots(as<G>(g)); },
        .output_slots = [](const void *g) { return output_slots(as<G>(g)); },
        .describe = [](const void *g, ss1_model_info &info) { describe(as<G>(g), info); },
        .layers = [](const void *g) -> const std::vector<named_layer> & { return as<G>(g).layers; },
        .labels = [](const void *g) -> const std::vector<std::string> & { return as<G>(g).labels; },
        .resolve_bounds = [](const void *g, session_bounds &bounds) { return resolve_bounds(as<G>(g), bounds); },
        .activation_bytes = sizeof(A),
        .carve = [](const ss1_context &context, const void *g, const session_bounds &bounds, carver &memory,
                    void *to) { new (to) A(carve(context, as<G>(g), bounds, memory)); },
        .check_sizes = [](const void *g, const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                          run_size &size) { return check_sizes(as<G>(g), bounds, inputs, size); },
        .check_values = [](const void *g,
                           const tensor_list<const ss1_tensor> &inputs) { return check_values(as<G>(g), inputs); },
        .run = [](const void *g, const void *activations,
                  model_run &all) { return run(as<G>(g), as<A>(activations), all); },
        .update_rows = updater<G>(),
    };
}

constexpr model_family rows[] = {row_of<dlrm_model>(dlrm_files), row_of<bert_model>(bert_files),
                                 row_of<static_model>(static_files)};

}  // namespace

const model_family &model_family_of(const family_files &files) noexcept {
    return *std::ranges::find(rows, &files, &model_family::files);
}

}  // namespace ss1
