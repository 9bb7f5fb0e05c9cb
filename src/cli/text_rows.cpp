// SPDX-License-Identifier: Apache-2.0
#include "text_rows.hpp"

#include <algorithm>

namespace ss1::cli {
namespace {

tokenizer_handle load_tokenizer(const context_handle &context, const std::string &directory) {
    ss1_tokenizer *tokenizer = nullptr;
    check(ss1_tokenizer_load(context.get(), directory.c_str(), &tokenizer));
    return tokenizer_handle(tokenizer);
}

std::vector<ss1_text> views(const std::vector<std::string> &texts) {
    std::vector<ss1_text> result;
    for (const std::string &text : texts) result.push_back({text.data(), text.size()});
    return result;
}

}  // namespace

text_rows::text_rows(const context_handle &context, const model_handle &model, const std::string &directory,
                     size_t max_tokens)
    : tokenizer_(load_tokenizer(context, directory)), max_tokens_(describe(model).max_tokens) {
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    check(ss1_tokenizer_describe(tokenizer_.get(), &info));
    const size_t vocab_size = describe(model).vocab_size;
    if (info.vocab_size > vocab_size)
        throw failure(
            format("%s: vocab.txt has %zu tokens, the model %zu", directory.c_str(), info.vocab_size, vocab_size),
            "use the vocab.txt that the model was trained with");
    if (info.max_tokens) max_tokens_ = std::min(max_tokens_, info.max_tokens);
    if (max_tokens > max_tokens_)
        throw failure(format("--max-tokens %zu is above the model's %zu", max_tokens, max_tokens_), "choose fewer");
    if (max_tokens) max_tokens_ = max_tokens;
}

bool text_rows::read(text_lines &lines, size_t batch, bert_rows &rows) {
    first_.clear();
    second_.clear();
    while (first_.size() < batch && lines.next()) {
        first_.push_back(lines.first());
        if (lines.pairs()) second_.push_back(lines.second());
    }
    if (first_.empty()) return false;
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
    for (size_t i = 0; i < lengths_.size(); ++i) {
        const text_row added = row(i);
        rows.add({added.ids.begin(), added.ids.end()}, {added.types.begin(), added.types.end()});
    }
    return true;
}

text_row text_rows::row(size_t i) const {
    const auto of_row = [&](const std::vector<int64_t> &values) {
        return std::span(values).subspan(i * max_tokens_, lengths_[i]);
    };
    return {first_[i],       second_.empty() ? std::string_view() : second_[i],
            of_row(ids_),    of_row(types_),
            of_row(begins_), of_row(ends_)};
}

}  // namespace ss1::cli
