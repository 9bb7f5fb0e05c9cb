// SPDX-License-Identifier: Apache-2.0
#include "cli/class_scores.hpp"

namespace ss1::cli {

void class_scores::add(size_t predicted, size_t label) {
    ++counts_[predicted].predicted;
    ++counts_[label].labelled;
    ++rows_;
    if (predicted != label) return;
    ++counts_[label].both;
    ++right_;
}

std::optional<double> class_scores::accuracy() const {
    if (rows_ == 0) return std::nullopt;
    return static_cast<double>(right_) / static_cast<double>(rows_);
}

std::optional<double> class_scores::f1() const {
    if (rows_ == 0) return std::nullopt;
    if (!is_macro()) return counts_[1].f1();
    double sum = 0;
    size_t n = 0;
    for (const count &c : counts_) {
        sum += c.f1();
        n += c.occurs();
    }
    return sum / static_cast<double>(n);
}

}  // namespace ss1::cli
