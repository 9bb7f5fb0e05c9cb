// SPDX-License-Identifier: Apache-2.0
// The rows of an embedding table by the ids of a file, as the table's entry in config.json says: the ids are indices,
// the lines of a vocabulary, or texts and numbers that a hash turns into rows.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "apps/csv.hpp"

namespace ss1::apps {

class table_ids {
  public:
    // An entry of "tables" that the library has checked.
    explicit table_ids(const nlohmann::json &entry);

    // Reads the vocabulary, if the table has one, from the directory of the model. Does nothing after the first call.
    void load(const std::string &directory);
    int64_t rows() const { return rows_; }

    // The row of an id; blanks around the id do not count. Fails, at this column, for an id that has none.
    int64_t row(const csv_reader &reader, size_t column, std::string_view id) const;
    // Whether the vocabulary has the id.
    bool lists(std::string_view id) const { return vocabulary_.contains(std::string(id)); }

  private:
    enum class kind { index, vocabulary, murmur3, hex, modulo };

    void add_line(const std::string &where, const std::string &line);
    int64_t index(const csv_reader &reader, size_t column, std::string_view id) const;
    int64_t listed(const csv_reader &reader, size_t column, std::string_view id) const;

    kind kind_ = kind::index;
    int64_t rows_;
    std::string file_;  // of the vocabulary
    std::optional<int64_t> unknown_;
    std::unordered_map<std::string, int64_t> vocabulary_;
};

}  // namespace ss1::apps
