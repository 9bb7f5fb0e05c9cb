// SPDX-License-Identifier: Apache-2.0
#include "cli/label_scores.hpp"

#include <algorithm>
#include <cmath>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/model_rows.hpp"
#include "apps/problem_type.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

std::vector<std::string> classes_of(const model_handle &model) {
    const ss1_model_info info = describe(model);
    if (choose_output(model).name != "logits" || info.n_labels == 0 ||
        problem_of(model, info.n_labels) != problem_type::one_label)
        throw failure(
            "--label needs a model that gives a probability, or one label of several for each row; this one is a " +
                std::string(info.family) + (info.n_labels ? " with other labels" : " without labels"),
            "leave --label out");
    return labels_of(model);
}

std::string number_or_undefined(const std::optional<double> &value, const char *why = "") {
    return value ? format("%.6f", *value) : "undefined" + std::string(why);
}

json optional_number(const std::optional<double> &value) {
    return value ? json(*value) : json(nullptr);
}

}  // namespace

label_scores::label_scores(const model_handle &model) : rule_("0 or 1") {
    if (gives_probability(model)) return;
    classes_ = classes_of(model);
    multiple_ = class_scores(classes_.size());
    rule_ = format("a number below %zu, or one of", classes_.size());
    const size_t shown_classes = std::min<size_t>(classes_.size(), 10);
    for (size_t i = 0; i < shown_classes; ++i) rule_ += (i ? ", " : " ") + classes_[i];
    if (shown_classes < classes_.size()) rule_ += ", ...";
}

std::optional<size_t> label_scores::parse(std::string_view text) const {
    const size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
    if (begin == text.npos) return std::nullopt;
    text = text.substr(begin, end + 1 - begin);
    const auto named = std::ranges::find(classes_, text);
    if (named != classes_.end()) return static_cast<size_t>(named - classes_.begin());
    float value = 0;
    const size_t n = classes_.empty() ? 2 : classes_.size();
    if (!parse_float(text, value) || value < 0 || value >= static_cast<float>(n) || value != std::floor(value))
        return std::nullopt;
    return static_cast<size_t>(value);
}

size_t label_scores::number(const csv_reader &reader, size_t column) const {
    const std::optional<size_t> label = parse(reader.field(column));
    if (!label) reader.fail(column, "'" + shown(reader.field(column)) + "' is not a label: " + rule_);
    return *label;
}

void label_scores::add(std::span<const float> outputs, std::span<const size_t> labels, size_t before) {
    if (labels.empty()) return;
    const size_t width = outputs.size() / labels.size();
    for (size_t i = 0; i < labels.size(); ++i) {
        const std::span<const float> row = outputs.subspan(i * width, width);
        if (std::ranges::any_of(row, [](float value) { return std::isnan(value); }))
            throw failure(
                format("score %zu is nan: the numbers of its row are too large for the model", before + i + 1),
                "leave the row out, or leave --label out to get the other rows' scores");
        if (classes_.empty())
            binary_.add(row[0], labels[i] == 1);
        else
            multiple_.add(static_cast<size_t>(std::ranges::max_element(row) - row.begin()), labels[i]);
    }
}

std::string label_scores::text() const {
    if (classes_.empty())
        return "AUC " + number_or_undefined(auc(), " (only one label)") + ", log loss " +
               number_or_undefined(log_loss());
    return "accuracy " + number_or_undefined(accuracy()) + ", F1 " + number_or_undefined(multiple_.f1()) +
           (multiple_.is_macro() ? " (mean over the labels)" : " of " + classes_[1]);
}

void label_scores::add_to(json &summary) const {
    if (classes_.empty()) {
        summary["auc"] = optional_number(auc());
        summary["log_loss"] = optional_number(log_loss());
    } else {
        summary["accuracy"] = optional_number(accuracy());
        summary["f1"] = optional_number(multiple_.f1());
    }
}

}  // namespace ss1::cli
