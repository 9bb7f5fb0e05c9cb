// SPDX-License-Identifier: Apache-2.0
#include "dlrm_rows.hpp"

#include <numeric>

namespace ss1::cli {

dlrm_rows::dlrm_rows(const nlohmann::json &config)
    : features_(config.at("dense_features").get<std::vector<std::string>>()) {
    for (const nlohmann::json &entry : config.at("tables"))
        tables_.push_back({entry.at("name"), entry.at("rows"), 0, {}, {}});
}

void dlrm_rows::bind(const csv_reader &reader) {
    feature_columns_.clear();
    for (const std::string &name : features_) feature_columns_.push_back(reader.column(name));
    for (table &t : tables_) t.column = reader.column(t.name);
}

void dlrm_rows::add_bag(const csv_reader &reader, table &bag) {
    const std::string &field = reader.field(bag.column);
    bag.begins.push_back(static_cast<int64_t>(bag.indices.size()));
    if (field.empty()) return;
    for (size_t begin = 0, end; begin <= field.size(); begin = end + 1) {
        end = std::min(field.find('|', begin), field.size());
        const std::string item = field.substr(begin, end - begin);
        int64_t index = 0;
        if (!parse_integer(item, index)) reader.fail(bag.column, "'" + item + "' is not a whole number");
        if (index < 0 || index >= bag.rows)
            reader.fail(bag.column,
                        "index " + item + " is out of range: the table has " + std::to_string(bag.rows) + " rows");
        bag.indices.push_back(index);
    }
}

void dlrm_rows::add(const csv_reader &reader) {
    for (const size_t column : feature_columns_) {
        float value = 0;
        if (!parse_float(reader.field(column), value))
            reader.fail(column, "'" + reader.field(column) + "' is not a finite number");
        dense_.push_back(value);
    }
    for (table &t : tables_) add_bag(reader, t);
    ++rows_;
}

void dlrm_rows::add_random(std::mt19937_64 &random, size_t) {
    std::normal_distribution<float> value;
    for (size_t i = 0; i < features_.size(); ++i) dense_.push_back(value(random));
    for (table &t : tables_) {
        t.begins.push_back(static_cast<int64_t>(t.indices.size()));
        t.indices.push_back(std::uniform_int_distribution<int64_t>(0, t.rows - 1)(random));
    }
    ++rows_;
}

void dlrm_rows::clear() {
    dense_.clear();
    for (table &t : tables_) {
        t.indices.clear();
        t.begins.clear();
    }
    rows_ = 0;
}

const std::vector<model_run> &dlrm_rows::runs() {
    indices_.clear();
    offsets_.clear();
    for (const table &t : tables_) {
        const int64_t first = static_cast<int64_t>(indices_.size());
        for (const int64_t begin : t.begins) offsets_.push_back(first + begin);
        indices_.insert(indices_.end(), t.indices.begin(), t.indices.end());
    }
    runs_.resize(1);
    runs_[0].rows.resize(rows_);
    std::iota(runs_[0].rows.begin(), runs_[0].rows.end(), size_t{0});
    runs_[0].inputs = {input_tensor("dense_x", dense_, {rows_, features_.size()}),
                       input_tensor("indices", indices_, {indices_.size()}),
                       input_tensor("offsets", offsets_, {tables_.size(), rows_})};
    return runs_;
}

}  // namespace ss1::cli
