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
                     size_t max_tokens, bool pairs)
    : tokenizer_(load_tokenizer(context, directory)), max_tokens_(describe(model).max_tokens), pairs_(pairs) {
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
        if (pairs_) second_.push_back(lines.second());
    }
    if (first_.empty()) return false;
    const std::vector<ss1_text> first = views(first_), second = views(second_);
    std::vector<size_t> lengths(first.size());
    ids_.resize(first.size() * max_tokens_);
    types_.resize(first.size() * max_tokens_);
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = first.size();
    args.first = first.data();
    if (pairs_) args.second = second.data();
    args.max_tokens = max_tokens_;
    args.input_ids = ids_.data();
    args.token_type_ids = types_.data();
    args.lengths = lengths.data();
    check(ss1_tokenizer_encode(tokenizer_.get(), &args));
    for (size_t i = 0; i < lengths.size(); ++i) {
        const auto ids = ids_.begin() + i * max_tokens_, types = types_.begin() + i * max_tokens_;
        rows.add({ids, ids + lengths[i]}, {types, types + lengths[i]});
    }
    return true;
}

}  // namespace ss1::cli
