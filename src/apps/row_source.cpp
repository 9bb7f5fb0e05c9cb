// SPDX-License-Identifier: Apache-2.0
#include "apps/row_source.hpp"

#include "apps/bert_rows.hpp"
#include "apps/row_family.hpp"
#include "apps/text_answers.hpp"

namespace ss1::apps {

row_source::row_source(const context_handle &context, const model_handle &model, const std::string &directory,
                       const std::string &path) {
    const row_family &family = family_of(model);
    if (!family.has_tokens || path.ends_with(".csv")) {
        rows_ = family.make_rows(describe(model));
        rows_->bind(reader_.emplace(path));
        return;
    }
    rows_ = std::make_unique<bert_rows>(describe(model));
    texts_.emplace(context, model, directory, 0);
    lines_.emplace(path, text_answers(model, texts_->tokenizer().get(), false).line_kind());
}

bool row_source::read(size_t batch) {
    rows_->clear();
    if (lines_) return texts_->read(*lines_, batch, static_cast<bert_rows &>(*rows_));
    while (rows_->size() < batch && reader_->next()) rows_->add(*reader_);
    return rows_->size() > 0;
}

}  // namespace ss1::apps
