// SPDX-License-Identifier: Apache-2.0
// Reads CSV by RFC 4180, record by record:
// - Commas, or another character that csv_options names, separate fields, LF or CRLF ends a record. The last record may
//   lack its end.
// - A field in double quotes may hold separators, line ends and doubled quotes.
// - A byte order mark at the start is skipped.
// - The first record is the header. Blanks around its names do not count, and no column may be looked up by a name that
//   stands there twice.
// - Every other record has as many fields as the header.
// - Lines of nothing but blanks may follow the last record; a record after such a line is an error. A tab that
// separates
//   fields is no blank.
// - A record has at most 64 MiB and 2^20 fields.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/byte_input.hpp"

namespace ss1::apps {

// What a row without the value of a dense feature (is_missing()) is worth.
enum class missing_value { error, zero, mean, skip };

// How a program reads the rows of a model: its options --delimiter and --missing.
struct csv_options {
    char delimiter = ',';
    missing_value missing = missing_value::error;

    bool is_default() const { return delimiter == ',' && missing == missing_value::error; }
};

class csv_reader {
  public:
    static constexpr const char *mend = "mend this line of the CSV file";  // the hint of most failures

    // "-" is stdin. Reads the header.
    csv_reader(const std::string &path, const csv_options &options);
    // For programs without these options: messages do not name them.
    explicit csv_reader(const std::string &path);

    // The number of the column `name`, if the header has it. Fails if the header has the name twice.
    std::optional<size_t> find(std::string_view name) const;
    size_t column(std::string_view name) const;
    const std::string &name(size_t column) const { return header_[column]; }

    // Reads the next record; false at the end.
    bool next();
    // Returns whether next() can answer without waiting for a pipe. Takes the blank lines that have arrived: next()
    // would wait for the record after them.
    bool ready();
    // Fields of the last record, valid until next().
    const std::string &field(size_t column) const { return fields_[column]; }

    // Throws a failure: "FILE:LINE: column NAME (its number): PROBLEM". `hint` says how to solve it.
    [[noreturn]] void fail(size_t column, const std::string &problem, const char *hint = mend) const;

    const byte_input &input() const { return in_; }
    const csv_options &options() const { return options_; }

  private:
    void read_header();
    // Throws a failure if the first field of the header shows that the file is something else.
    void refuse_foreign(std::string_view front) const;
    [[noreturn]] void fail_at(size_t line, const std::string &problem, const std::string &hint = mend) const;
    [[noreturn]] void fail_after_quotes(int c) const;
    // What to say where `text` of the header has another separator; "" where it has none.
    std::string delimiter_hint(std::string_view text) const;
    bool read_record();
    void read_quoted(std::string &field);
    void read_plain(std::string &field);
    bool end_of_field();
    void append(std::string &field, int c);

    byte_input in_;
    csv_options options_;
    bool has_options_;  // the program has --delimiter
    std::vector<std::string> header_, fields_;
    size_t n_fields_ = 0;     // fields of the record; fields_ keeps the memory of more
    size_t record_line_ = 1;  // line of the record's first byte
    size_t record_bytes_ = 0;
    bool is_blank_ = false;  // the record is a line of nothing but blanks
    size_t blank_line_ = 0;  // the first line that is blank; 0 for none
};

// Parse the whole field except blanks around it, as Python's float() and int() do: +2 is 2, and a number too small for
// f32 becomes 0 or the nearest subnormal. Return false for other text, infinities, NaN and numbers that are too large.
bool parse_float(std::string_view field, float &value);
bool parse_integer(std::string_view field, int64_t &value);
// The same of an index, which may end in zeros after a point: pandas writes whole numbers beside missing ones as 17.0.
bool parse_index(std::string_view field, int64_t &value);
// The number without a point and zeros behind it: 17 of 17.0. Other texts stay unchanged.
std::string_view without_zeros(std::string_view number);

// Without the spaces and tabs around it.
std::string_view trimmed(std::string_view text);
// Whether the field stands for no value: blank, NA, N/A, NaN, nan, null, NULL, None or \N.
bool is_missing(std::string_view field);

// The text of `field` in a file of commas, with quotes if it needs them.
std::string csv_quote(const std::string &field);

}  // namespace ss1::apps
