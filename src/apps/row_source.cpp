// SPDX-License-Identifier: Apache-2.0
#include "apps/row_source.hpp"

#include "apps/bert_rows.hpp"
#include "apps/failure.hpp"
#include "apps/row_family.hpp"
#include "apps/text_answers.hpp"

namespace ss1::apps {

row_source::row_source(const context_handle &context, const model_handle &model, const std::string &directory,
                       const std::string &path, const csv_options &csv, row_subset subset,
                       const std::optional<label_source> &label)
    : subset_(subset), label_(label) {
    const row_family &family = family_of(model);
    if (!family.has_tokens || path.ends_with(".csv")) {
        rows_ = family.make_rows(describe(model));
        rows_->bind(reader_.emplace(path, csv), directory);
        if (label_) label_column_ = reader_->column(label_->column);
        return;
    }
    if (label_)
        throw failure("--label " + label_->column + ": " + path + " is a text, which has no columns",
                      "give token ids and labels in a file that ends with .csv");
    if (!csv.is_default())
        throw failure("--delimiter and --missing are for CSV; " + path + " is a text", "leave them out");
    rows_ = std::make_unique<bert_rows>(describe(model));
    texts_.emplace(context, model, directory, 0);
    lines_.emplace(path, text_answers(model, texts_->tokenizer().get(), false).line_kind(), subset_);
}

bool row_source::read(size_t batch) {
    rows_->clear();
    labels_.clear();
    if (lines_) return texts_->read(*lines_, batch, static_cast<bert_rows &>(*rows_));
    while (rows_->size() < batch && reader_->next()) {
        if (!subset_.takes(records_++)) continue;
        const size_t label = label_ ? label_->number(*reader_, label_column_) : 0;
        if (!rows_->add(*reader_))
            ++left_out_;
        else if (label_)
            labels_.push_back(label);
    }
    return rows_->size() > 0;
}

}  // namespace ss1::apps
