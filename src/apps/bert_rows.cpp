// SPDX-License-Identifier: Apache-2.0
#include "apps/bert_rows.hpp"

#include <algorithm>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::apps {

bert_rows::bert_rows(const ss1_model_info &model)
    : vocabulary_(static_cast<int64_t>(model.vocab_size)),
      types_(static_cast<int64_t>(model.type_vocab_size)),
      max_tokens_(model.max_tokens) {}

void bert_rows::bind(const csv_reader &reader, const std::string &) {
    if (reader.options().missing != missing_value::error)
        throw failure("--missing is for a DLRM; this model is a BERT, whose rows have no dense features",
                      "leave it out");
    ids_column_ = reader.column("input_ids");
    types_column_ = reader.find("token_type_ids");
    if (types_column_ && types_ == 0) reader.fail(*types_column_, "this model takes no token_type_ids");
}

std::vector<int64_t> bert_rows::parse_tokens(const csv_reader &reader, size_t column, int64_t limit) {
    const std::string &field = reader.field(column);
    std::vector<int64_t> tokens;
    for (size_t begin = field.find_first_not_of(' '); begin < field.size();) {
        const size_t end = std::min(field.find(' ', begin), field.size());
        const std::string item = field.substr(begin, end - begin);
        int64_t token = 0;
        if (!parse_integer(item, token)) reader.fail(column, "'" + shown(item) + "' is not a whole number");
        if (token < 0 || token >= limit)
            reader.fail(column, "token " + shown(item) + " is out of range: the model has " + std::to_string(limit));
        tokens.push_back(token);
        begin = field.find_first_not_of(' ', end);
    }
    return tokens;
}

bool bert_rows::add(const csv_reader &reader) {
    sequence row;
    row.ids = parse_tokens(reader, ids_column_, vocabulary_);
    if (row.ids.empty()) reader.fail(ids_column_, "no tokens");
    if (row.ids.size() > max_tokens_)
        reader.fail(ids_column_,
                    std::to_string(row.ids.size()) + " tokens; the model takes at most " + std::to_string(max_tokens_));
    if (types_column_) {
        row.types = parse_tokens(reader, *types_column_, types_);
        if (row.types.size() != row.ids.size())
            reader.fail(*types_column_,
                        std::to_string(row.types.size()) + " types for " + std::to_string(row.ids.size()) + " tokens");
    }
    sequences_.push_back(std::move(row));
    return true;
}

void bert_rows::add_random(std::mt19937_64 &random, size_t tokens) {
    sequence row;
    std::uniform_int_distribution<int64_t> token(0, vocabulary_ - 1);
    for (size_t i = 0; i < tokens; ++i) row.ids.push_back(token(random));
    sequences_.push_back(std::move(row));
}

void bert_rows::add(std::vector<int64_t> ids, std::vector<int64_t> types) {
    if (types_ == 0) types.clear();
    sequences_.push_back({std::move(ids), std::move(types)});
}

void bert_rows::clear() {
    sequences_.clear();
}

size_t bert_rows::longest() const {
    size_t longest = 0;
    for (const sequence &s : sequences_) longest = std::max(longest, s.ids.size());
    return longest;
}

const std::vector<model_run> &bert_rows::runs() {
    const size_t B = size(), T = longest();
    padded_ids_.assign(B * T, 0);
    mask_.assign(B * T, 0);
    padded_types_.assign(sequences_.empty() || sequences_[0].types.empty() ? 0 : B * T, 0);
    model_run run;
    for (size_t i = 0; i < B; ++i) {
        const sequence &s = sequences_[i];
        std::copy(s.ids.begin(), s.ids.end(), padded_ids_.begin() + i * T);
        std::fill_n(mask_.begin() + i * T, s.ids.size(), 1);
        if (!padded_types_.empty()) std::copy(s.types.begin(), s.types.end(), padded_types_.begin() + i * T);
        run.rows.push_back(i);
    }
    run.inputs = {input_tensor("input_ids", padded_ids_, {B, T})};
    if (std::count(mask_.begin(), mask_.end(), 0)) run.inputs.push_back(input_tensor("attention_mask", mask_, {B, T}));
    if (!padded_types_.empty()) run.inputs.push_back(input_tensor("token_type_ids", padded_types_, {B, T}));
    runs_ = {run};
    return runs_;
}

}  // namespace ss1::apps
