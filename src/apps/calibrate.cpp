// SPDX-License-Identifier: Apache-2.0
#include "apps/calibrate.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/model_outputs.hpp"
#include "apps/row_family.hpp"

namespace ss1::apps {
namespace {

// Hands rows to the calibration and keeps samples of them: a few of each call, as neighbours are alike.
struct observer {
    calibrated *result;
    std::optional<size_t> only;

    static void add(void *user, const ss1_layer_rows *rows) {
        const observer &self = *static_cast<observer *>(user);
        if (self.only && rows->first_layer != *self.only) return;
        ss1_calibration_observe(self.result->moments.get(), rows);
        std::vector<read_group> &groups = self.result->groups;
        auto group = std::ranges::find(groups, rows->first_layer, &read_group::first_layer);
        if (group == groups.end())
            group = groups.insert(groups.end(), {rows->first_layer, rows->n_layers, rows->K, {}});
        constexpr size_t of_each = 16;
        for (size_t i = 0; i < std::min(rows->m, of_each) && group->rows.size() < most_samples * rows->K; ++i)
            append_row(*rows, i * rows->m / std::min(rows->m, of_each), group->rows);
    }

  private:
    static void append_row(const ss1_layer_rows &rows, size_t i, std::vector<float> &to) {
        for (size_t k = 0; k < rows.K; ++k)
            to.push_back(
                rows.x_dtype == SS1_DTYPE_BF16
                    ? std::bit_cast<float>(uint32_t{static_cast<const uint16_t *>(rows.x)[i * rows.ldx + k]} << 16)
                    : static_cast<const float *>(rows.x)[i * rows.ldx + k]);
    }
};

}  // namespace

calibrated calibrate(const context_handle &context, const model_handle &model, const calibration_data &data,
                     const std::function<void(size_t, const byte_input &)> &each) {
    row_source source(context, model, data.directory, data.path, data.csv, data.subset);
    calibrated result;
    ss1_calibration *created = nullptr;
    check(ss1_calibration_create(model.get(), &created));
    result.moments.reset(created);
    const size_t batch = default_batch(model, source.max_tokens());
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = batch;
    options.max_tokens = source.max_tokens();
    observer observes = {&result, data.only};
    options.observe = observer::add;
    options.observe_user = &observes;
    const session_handle session = make_session(model, options);
    model_outputs outputs(model);  // all: a layer that no output needs does not run
    size_t next_look = 0;          // not before there are as many rows as inputs
    for (size_t i = 0; i < describe(model).n_layers; ++i)
        next_look = std::max(next_look, describe_layer(model, i).layer.desc.K);
    while (!result.settled && source.read(batch)) {
        model_rows &rows = source.rows();
        const size_t tokens = longest(rows);
        for (const model_run &run : rows.runs()) {
            std::vector<ss1_tensor> wanted = outputs.tensors(run.rows.size(), tokens);
            check(ss1_session_run(session.get(), run.inputs.data(), run.inputs.size(), wanted.data(), wanted.size()));
        }
        result.rows += rows.size();
        each(result.rows, source.input());
        if (result.rows < next_look) continue;
        next_look = 2 * result.rows;
        double change = 1;
        check(ss1_calibration_change(created, &change));
        result.settled = change <= settled_change;
    }
    result.left_out = source.left_out();
    if (result.rows == 0)
        throw failure(data.path + ": no rows to calibrate with" +
                          (result.left_out ? format("; --missing skip left out %zu", result.left_out) : ""),
                      "give the rows or texts of real use");
    double change = 1;
    check(ss1_calibration_change(created, &change));  // reports an error of the last rows
    std::ranges::sort(result.groups, {}, &read_group::first_layer);
    return result;
}

}  // namespace ss1::apps
