// SPDX-License-Identifier: Apache-2.0
#include "cli/conversion.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::cli {

using namespace apps;
namespace fs = std::filesystem;

namespace {

// The path of the output without slashes at its end.
fs::path folder_of(const std::string &output) {
    fs::path path = fs::path(output).lexically_normal();
    return path.has_filename() ? path : path.parent_path();
}

std::string prefix_of(const fs::path &output) {
    return output.filename().string() + ".tmp-";
}

// Whether `name` is the workspace of a process that is no more.
bool is_left_over(const std::string &name, const std::string &prefix) {
    if (!name.starts_with(prefix)) return false;
    pid_t process = 0;
    const char *const end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, process);
    if (error != std::errc() || rest != end || process <= 0) return false;
    return process == getpid() || (kill(process, 0) != 0 && errno == ESRCH);  // numbers come again
}

void collect(void *user, const ss1_converted_layer *layer) {
    if (!layer->reason) (*static_cast<std::map<std::string, double> *>(user))[layer->name] = layer->error;
}

void give_form(void *user, const char *layer, ss1_linear_desc *desc) {
    const auto &forms = *static_cast<const layer_forms *>(user);
    const auto found = forms.find(layer);
    if (found == forms.end()) return;
    *desc = found->second;
    if (desc->c == 1) desc->c = 0;  // a dense layer, whose type changes
}

}  // namespace

workspace::workspace(const std::string &output) {
    const fs::path path = folder_of(output), parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
    std::error_code error;
    std::vector<fs::path> old;
    for (const fs::directory_entry &entry : fs::directory_iterator(parent, error))
        if (is_left_over(entry.path().filename().string(), prefix_of(path))) old.push_back(entry.path());
    for (const fs::path &folder : old) fs::remove_all(folder, error);
    path_ = (parent / (prefix_of(path) + std::to_string(getpid()))).string();
    if (!fs::create_directory(path_, error))
        throw failure(path_ + ": cannot create the folder: " + (error ? error.message() : "it exists"),
                      "the models that are tried lie beside the output: write to a folder that may get new ones");
}

workspace::~workspace() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

std::string workspace::next() {
    return path_ + "/" + std::to_string(models_++);
}

void workspace::drop(const std::string &model) const {
    std::error_code ignored;
    fs::remove_all(model, ignored);
}

void check_output(const conversion_setting &setting, const std::string &output) {
    const int32_t cancelled = 1;  // the library looks at the output first
    ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
    options.load = &setting.load;
    options.cancel = &cancelled;
    options.form = [](void *, const char *, ss1_linear_desc *) {};
    const ss1_status status =
        ss1_model_convert(setting.context.get(), setting.directory.c_str(), output.c_str(), &options);
    if (status != SS1_ERROR_CANCELLED) check(status);
}

std::map<std::string, double> convert_to(const conversion_setting &setting, const layer_forms &forms,
                                         const ss1_calibration *calibration, const std::string &output) {
    std::map<std::string, double> errors;
    ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
    options.load = &setting.load;
    options.cancel = setting.cancel;
    options.calibration = calibration;
    options.min_rows = calibration ? setting.min_rows : 0;
    options.form = give_form;
    options.form_user = const_cast<layer_forms *>(&forms);  // it is only read
    options.report = collect;
    options.report_user = &errors;
    check(ss1_model_convert(setting.context.get(), setting.directory.c_str(), output.c_str(), &options));
    return errors;
}

std::map<std::string, double> convert_in_sequence(const conversion_setting &setting, const layer_forms &forms,
                                                  const std::vector<read_group> &groups, const calibration_data &data,
                                                  workspace &models, const std::string &output) {
    std::map<std::string, double> errors;
    conversion_setting from = setting;
    for (size_t g = 0; g < groups.size(); ++g) {
        layer_forms own;
        calibrated calibration;
        {
            const model_handle model = load_model(setting.context, from.directory, from.load);
            for (size_t i = 0; i < groups[g].n_layers; ++i)
                if (const auto form = forms.find(describe_layer(model, groups[g].first_layer + i).name);
                    form != forms.end())
                    own.insert(*form);
            if (own.empty()) continue;
            calibration_data one = data;
            one.directory = from.directory;
            one.only = groups[g].first_layer;
            calibration = calibrate(setting.context, model, one, [&](size_t rows, const byte_input &) {
                setting.show(format("fitting layers in sequence: %zu of %zu, %zu rows", g + 1, groups.size(), rows));
            });
        }
        const std::string next = models.next();
        errors.merge(convert_to(from, own, calibration.moments.get(), next));
        if (from.directory != setting.directory) models.drop(from.directory);
        from.directory = next;
        from.load = SS1_MODEL_OPTIONS_INIT;
    }
    convert_to(from, {}, nullptr, output);
    if (from.directory != setting.directory) models.drop(from.directory);
    return errors;
}

}  // namespace ss1::cli
