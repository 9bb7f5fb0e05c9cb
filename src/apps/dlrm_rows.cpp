// SPDX-License-Identifier: Apache-2.0
#include "apps/dlrm_rows.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::apps {

dlrm_rows::dlrm_rows(const ss1_model_info &model) {
    const auto config = nlohmann::json::parse(model.config);
    features_ = config.at("dense_features").get<std::vector<std::string>>();
    if (config.contains("dense_means")) means_ = config["dense_means"].get<std::vector<float>>();
    for (const nlohmann::json &entry : config.at("tables"))
        tables_.push_back({entry.at("name"), table_ids(entry), entry.value("side", "item") == "user", 0, {}, {}});
}

void dlrm_rows::bind(const csv_reader &reader, const std::string &directory) {
    if (reader.options().missing == missing_value::mean && means_.empty())
        throw failure("--missing mean: " + directory + "/config.json lacks dense_means",
                      "add \"dense_means\", a number for each feature: the means of the rows of the training");
    feature_columns_.clear();
    for (const std::string &name : features_) feature_columns_.push_back(reader.column(name));
    for (table &t : tables_) {
        t.column = reader.column(t.name);
        t.ids.load(directory);
    }
}

void dlrm_rows::add_bag(const csv_reader &reader, table &bag) {
    const std::string_view field = reader.field(bag.column);
    bag.begins.push_back(static_cast<int64_t>(bag.indices.size()));
    if (trimmed(field).empty()) return;
    for (size_t begin = 0, end; begin <= field.size(); begin = end + 1) {
        end = std::min(field.find('|', begin), field.size());
        const std::string_view part = field.substr(begin, end - begin), id = trimmed(part);
        if (id.empty() || !is_missing(id) || bag.ids.lists(id))
            bag.indices.push_back(bag.ids.row(reader, bag.column, part));
        else if (reader.options().missing == missing_value::error)
            reader.fail(bag.column, "'" + shown(id) + "' stands for a missing value",
                        "leave the field empty, or let --missing zero leave such ids out of the bag");
    }
}

bool dlrm_rows::add_features(const csv_reader &reader) {
    const missing_value rule = reader.options().missing;
    bool is_whole = true;
    for (size_t i = 0; i < features_.size(); ++i) {
        const size_t column = feature_columns_[i];
        const std::string &field = reader.field(column);
        float value = 0;
        if (is_missing(field)) {
            if (rule == missing_value::error)
                reader.fail(column, "'" + shown(field) + "' is a missing value, which --missing error refuses",
                            "--missing zero, mean or skip says what a row without the value is worth");
            is_whole = false;
            if (rule == missing_value::mean) value = means_[i];
        } else if (!parse_float(field, value)) {
            const bool has_comma = reader.options().delimiter != ',' && field.find(',') != field.npos;
            reader.fail(column, "'" + shown(field) + "' is not a finite number",
                        has_comma ? "numbers have a decimal point, not a comma" : csv_reader::mend);
        }
        dense_.push_back(value);
    }
    return is_whole;
}

bool dlrm_rows::add(const csv_reader &reader) {
    const bool is_whole = add_features(reader);
    for (table &t : tables_) add_bag(reader, t);
    ++rows_;
    if (is_whole || reader.options().missing != missing_value::skip) return true;
    remove_last();
    return false;
}

void dlrm_rows::remove_last() {
    --rows_;
    dense_.resize(rows_ * features_.size());
    for (table &t : tables_) {
        t.indices.resize(t.begins.back());
        t.begins.pop_back();
    }
}

void dlrm_rows::add_random(std::mt19937_64 &random, size_t) {
    std::normal_distribution<float> value;
    for (size_t i = 0; i < features_.size(); ++i) dense_.push_back(value(random));
    for (table &t : tables_) {
        t.begins.push_back(static_cast<int64_t>(t.indices.size()));
        t.indices.push_back(std::uniform_int_distribution<int64_t>(0, t.ids.rows() - 1)(random));
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

void dlrm_rows::collect(bool user_side, size_t rows, bags &out) const {
    out = {};
    for (const table &t : tables_) {
        if (t.user_side != user_side) continue;
        const int64_t first = static_cast<int64_t>(out.indices.size());
        for (size_t i = 0; i < rows; ++i) out.offsets.push_back(first + t.begins[i]);
        const auto end = rows < t.begins.size() ? t.indices.begin() + t.begins[rows] : t.indices.end();
        out.indices.insert(out.indices.end(), t.indices.begin(), end);
    }
}

const std::vector<model_run> &dlrm_rows::runs() {
    const size_t user_rows = users();
    const auto user_tables = static_cast<size_t>(std::ranges::count(tables_, true, &table::user_side));
    collect(false, rows_, item_bags_);
    collect(true, user_rows, user_bags_);
    runs_.resize(1);
    runs_[0].rows.resize(rows_);
    std::iota(runs_[0].rows.begin(), runs_[0].rows.end(), size_t{0});
    dense_.resize(user_rows * features_.size());
    runs_[0].inputs = {input_tensor("dense_x", dense_, {user_rows, features_.size()}),
                       input_tensor("indices", item_bags_.indices, {item_bags_.indices.size()}),
                       input_tensor("offsets", item_bags_.offsets, {tables_.size() - user_tables, rows_})};
    if (user_tables == 0) return runs_;
    runs_[0].inputs.push_back(input_tensor("user_indices", user_bags_.indices, {user_bags_.indices.size()}));
    runs_[0].inputs.push_back(input_tensor("user_offsets", user_bags_.offsets, {user_tables, user_rows}));
    return runs_;
}

}  // namespace ss1::apps
