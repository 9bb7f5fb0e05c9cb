// SPDX-License-Identifier: Apache-2.0
#include "bert_rows.hpp"

#include <map>

namespace ss1::cli {
namespace {

// The library has checked the config; absent and null sizes have the defaults of Hugging Face's BertConfig.
int64_t size_of(const nlohmann::json &config, const char *key, int64_t otherwise) {
    const auto found = config.find(key);
    return found == config.end() || found->is_null() ? otherwise : found->get<int64_t>();
}

}  // namespace

bert_rows::bert_rows(const nlohmann::json &config)
    : vocabulary_(size_of(config, "vocab_size", 30522)),
      types_(size_of(config, "type_vocab_size", 2)),
      max_tokens_(static_cast<size_t>(size_of(config, "max_position_embeddings", 512))) {}

void bert_rows::bind(const csv_reader &reader) {
    ids_column_ = reader.column("input_ids");
    types_column_ = reader.find("token_type_ids");
}

std::vector<int64_t> bert_rows::parse_tokens(const csv_reader &reader, size_t column, int64_t limit) {
    const std::string &field = reader.field(column);
    std::vector<int64_t> tokens;
    for (size_t begin = field.find_first_not_of(' '); begin < field.size();) {
        const size_t end = std::min(field.find(' ', begin), field.size());
        const std::string item = field.substr(begin, end - begin);
        int64_t token = 0;
        if (!parse_integer(item, token)) reader.fail(column, "'" + item + "' is not a whole number");
        if (token < 0 || token >= limit)
            reader.fail(column, "token " + item + " is out of range: the model has " + std::to_string(limit));
        tokens.push_back(token);
        begin = field.find_first_not_of(' ', end);
    }
    return tokens;
}

void bert_rows::add(const csv_reader &reader) {
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
}

void bert_rows::add_random(std::mt19937_64 &random, size_t tokens) {
    sequence row;
    std::uniform_int_distribution<int64_t> token(0, vocabulary_ - 1);
    for (size_t i = 0; i < tokens; ++i) row.ids.push_back(token(random));
    sequences_.push_back(std::move(row));
}

void bert_rows::clear() {
    sequences_.clear();
}

const std::vector<model_run> &bert_rows::runs() {
    std::map<size_t, std::vector<size_t>> by_length;
    for (size_t i = 0; i < sequences_.size(); ++i) by_length[sequences_[i].ids.size()].push_back(i);
    runs_.clear();
    packed_.clear();
    packed_.reserve(by_length.size());  // the runs point into its elements
    for (auto &[length, rows] : by_length) {
        sequence &p = packed_.emplace_back();
        for (const size_t row : rows) {
            const sequence &s = sequences_[row];
            p.ids.insert(p.ids.end(), s.ids.begin(), s.ids.end());
            p.types.insert(p.types.end(), s.types.begin(), s.types.end());
        }
        model_run run;
        run.inputs = {input_tensor("input_ids", p.ids, {rows.size(), length})};
        if (!p.types.empty()) run.inputs.push_back(input_tensor("token_type_ids", p.types, {rows.size(), length}));
        run.rows = std::move(rows);
        runs_.push_back(std::move(run));
    }
    return runs_;
}

}  // namespace ss1::cli
