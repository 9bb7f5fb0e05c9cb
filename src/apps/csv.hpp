// SPDX-License-Identifier: Apache-2.0
// CSV as RFC 4180 has it, read record by record: quotes, doubled quotes, line ends in quotes, LF or CRLF, a last line
// without its end, a byte order mark. The first record is the header; every other one has as many fields.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/byte_input.hpp"

namespace ss1::apps {

class csv_reader {
  public:
    // "-" is stdin. Reads the header.
    explicit csv_reader(const std::string &path);

    // The number of the column `name`, if there is one. A name that stands there twice is an error.
    std::optional<size_t> find(std::string_view name) const;
    size_t column(std::string_view name) const;

    // Reads the next record; false at the end.
    bool next();
    // Whether next() would not wait for a pipe.
    bool ready() { return in_.has_line(true); }
    // Fields of the last record; the views of next() before are gone.
    const std::string &field(size_t column) const { return fields_[column]; }

    // Ends the command: "FILE:LINE: column NAME (its number): PROBLEM".
    [[noreturn]] void fail(size_t column, const std::string &problem) const;

    const byte_input &input() const { return in_; }

  private:
    [[noreturn]] void fail_at(size_t line, const std::string &problem) const;
    bool read_record();
    void read_quoted(std::string &field);
    void read_plain(std::string &field);
    bool end_of_field();
    void append(std::string &field, int c);

    byte_input in_;
    std::vector<std::string> header_, fields_;
    size_t n_fields_ = 0;     // of the record; fields_ keeps its strings' memory
    size_t record_line_ = 1;  // of the record's first byte
    size_t record_bytes_ = 0;
};

// Whole texts of `field`, blanks around it aside; false for anything else, infinities and NaN.
bool parse_float(std::string_view field, float &value);
bool parse_integer(std::string_view field, int64_t &value);

// `field` as it stands in a file, in quotes if it must.
std::string csv_quote(const std::string &field);

}  // namespace ss1::apps
