// SPDX-License-Identifier: Apache-2.0
#include "apps/calibrate.hpp"

#include <algorithm>
#include <vector>

#include "apps/failure.hpp"
#include "apps/row_family.hpp"

namespace ss1::apps {
namespace {

// Memory for every output of a run: a layer that no output needs does not run.
class all_outputs {
  public:
    explicit all_outputs(const model_handle &model) {
        slots_.resize(describe(model).n_outputs, SS1_TENSOR_INIT);
        values_.resize(slots_.size());
        for (size_t i = 0; i < slots_.size(); ++i) check(ss1_model_output(model.get(), i, &slots_[i]));
    }

    std::vector<ss1_tensor> tensors(size_t batch, size_t tokens) {
        std::vector<ss1_tensor> result = slots_;
        for (size_t i = 0; i < result.size(); ++i) {
            size_t n = 1, varying = 0;
            for (uint32_t k = 0; k < result[i].rank; ++k) {
                const int64_t size = result[i].shape[k];
                n *= size >= 0 ? static_cast<size_t>(size) : varying++ == 0 ? batch : tokens;
            }
            values_[i].resize(n);
            result[i].data = values_[i].data();
            result[i].bytes = n * sizeof(float);
        }
        return result;
    }

  private:
    std::vector<ss1_tensor> slots_;
    std::vector<std::vector<float>> values_;
};

}  // namespace

calibrated calibrate(const context_handle &context, const model_handle &model, const std::string &directory,
                     const std::string &path, const std::function<void(size_t, const byte_input &)> &each) {
    row_source source(context, model, directory, path);
    calibrated result;
    ss1_calibration *created = nullptr;
    check(ss1_calibration_create(model.get(), &created));
    result.moments.reset(created);
    const size_t batch = family_of(model).default_batch;
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = batch;
    options.max_tokens = source.max_tokens();
    options.observe = ss1_calibration_observe;
    options.observe_user = created;
    const session_handle session = make_session(model, options);
    all_outputs outputs(model);
    size_t next_look = 0;  // not before there are as many rows as inputs
    for (size_t i = 0; i < describe(model).n_layers; ++i)
        next_look = std::max(next_look, describe_layer(model, i).layer.desc.K);
    while (!result.settled && source.read(batch)) {
        model_rows &rows = source.rows();
        size_t tokens = 1;
        for (size_t i = 0; i < rows.size(); ++i) tokens = std::max(tokens, rows.tokens(i));
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
    if (result.rows == 0) throw failure(path + ": no rows to calibrate with", "give the rows or texts of real use");
    double change = 1;
    check(ss1_calibration_change(created, &change));  // reports an error of the last rows
    return result;
}

}  // namespace ss1::apps
