// SPDX-License-Identifier: Apache-2.0
// Conversions of a model to given forms, on the way to the directory that the user wants.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "apps/calibrate.hpp"
#include "apps/handles.hpp"

namespace ss1::cli {

using layer_forms = std::map<std::string, ss1_linear_desc>;  // by layer; the others keep theirs

// A folder beside the output, for models that are tried. Removed with this object; what a killed process left of the
// same output is removed before.
class workspace {
  public:
    explicit workspace(const std::string &output);
    ~workspace();
    workspace(const workspace &) = delete;
    workspace &operator=(const workspace &) = delete;

    std::string next();  // path of a new model
    void drop(const std::string &model) const;

  private:
    std::string path_;
    size_t models_ = 0;
};

// What all conversions of a command share.
struct conversion_setting {
    const apps::context_handle &context;
    std::string directory;   // of the original
    ss1_model_options load;  // of it
    size_t min_rows = 0;
    const int32_t *cancel = nullptr;
    std::function<void(const std::string &)> show = {};  // progress; may throw
};

// Fails where convert_to() would refuse the output, before minutes of work; leaves nothing.
void check_output(const conversion_setting &setting, const std::string &output);

// Writes the model with these forms to `output`, fitted to what its layers have read.
// @return the error of each new layer.
std::map<std::string, double> convert_to(const conversion_setting &setting, const layer_forms &forms,
                                         const ss1_calibration *calibration, const std::string &output);

// The same group after group, in the order of execution: each is fitted to what it reads when those before it are
// converted. `groups` are the calibration's; the rows are `data`'s.
std::map<std::string, double> convert_in_sequence(const conversion_setting &setting, const layer_forms &forms,
                                                  const std::vector<apps::read_group> &groups,
                                                  const apps::calibration_data &data, workspace &models,
                                                  const std::string &output);

}  // namespace ss1::cli
