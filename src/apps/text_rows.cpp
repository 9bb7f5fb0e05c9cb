// SPDX-License-Identifier: Apache-2.0
#include "apps/text_rows.hpp"

#include <algorithm>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::apps {
namespace {

std::vector<ss1_text> views(const std::vector<std::string> &texts) {
    std::vector<ss1_text> result;
    for (const std::string &text : texts) result.push_back({sizeof(ss1_text), text.data(), text.size()});
    return result;
}

}  // namespace

text_rows::text_rows(const context_handle &context, const model_handle &model, const std::string &directory,
                     size_t max_tokens)
    : tokenizer_(load_tokenizer(context, directory)), max_tokens_(describe(model).max_tokens) {
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    check(ss1_tokenizer_describe(tokenizer_.get(), &info));
    if (const size_t vocab_size = describe(model).vocab_size; info.vocab_size > vocab_size) {
        const char *token = nullptr;
        check(ss1_tokenizer_token(tokenizer_.get(), static_cast<int64_t>(vocab_size), &token));
        throw failure(format("%s: the tokenizer has %zu tokens, the model %zu: '%s' has the id %zu", directory.c_str(),
                             info.vocab_size, vocab_size, token, vocab_size),
                      "use the tokenizer that the model was trained with");
    }
    if (info.max_tokens) max_tokens_ = std::min(max_tokens_, info.max_tokens);
    if (max_tokens > max_tokens_)
        throw failure(format("--max-tokens %zu is above the model's %zu", max_tokens, max_tokens_), "choose fewer");
    if (max_tokens) max_tokens_ = max_tokens;
}

bool text_rows::read(text_lines &lines, size_t batch, bert_rows &rows) {
    first_.clear();
    second_.clear();
    const auto next = [&] {
        if (!lines.next()) return false;
        first_.push_back(lines.first());
        if (lines.pairs()) second_.push_back(lines.second());
        return true;
    };
    if (!batches_.fill(batch, next, [&] { return lines.ready(); })) return false;
    const std::vector<ss1_text> first = views(first_), second = views(second_);
    lengths_.resize(first.size());
    for (std::vector<int64_t> *const values : {&ids_, &types_, &begins_, &ends_})
        values->resize(first.size() * max_tokens_);
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = first.size();
    args.first = first.data();
    if (lines.pairs()) args.second = second.data();
    args.max_tokens = max_tokens_;
    args.input_ids = ids_.data();
    args.token_type_ids = types_.data();
    args.lengths = lengths_.data();
    args.begins = begins_.data();
    args.ends = ends_.data();
    check(ss1_tokenizer_encode(tokenizer_.get(), &args));
    cut_.resize(first.size());
    for (size_t i = 0; i < lengths_.size(); ++i) {
        cut_[i] = lengths_[i] == max_tokens_ && is_cut(first[i], lines.pairs() ? &second[i] : nullptr);
        const text_row added = row(i);
        rows.add({added.ids.begin(), added.ids.end()}, {added.types.begin(), added.types.end()});
    }
    return true;
}

// Returns whether a line that fills all max_tokens would fill one more.
bool text_rows::is_cut(const ss1_text &first, const ss1_text *second) {
    longer_ids_.resize(max_tokens_ + 1);
    size_t length = 0;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1;
    args.first = &first;
    args.second = second;
    args.max_tokens = longer_ids_.size();
    args.input_ids = longer_ids_.data();
    args.lengths = &length;
    check(ss1_tokenizer_encode(tokenizer_.get(), &args));
    return length > max_tokens_;
}

text_row text_rows::row(size_t i) const {
    const auto of_row = [&](const std::vector<int64_t> &values) {
        return std::span(values).subspan(i * max_tokens_, lengths_[i]);
    };
    return {first_[i],       second_.empty() ? std::string_view() : second_[i],
            of_row(ids_),    of_row(types_),
            of_row(begins_), of_row(ends_),
            cut_[i]};
}

}  // namespace ss1::apps
