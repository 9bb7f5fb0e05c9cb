// SPDX-License-Identifier: Apache-2.0
#include "apps/csv.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "io/foreign.hpp"

namespace ss1::apps {
namespace {

constexpr size_t max_record_bytes = size_t{64} << 20;  // an unclosed quote must not read a whole disk
constexpr size_t max_fields = size_t{1} << 20;         // nor must a line of commas alone fill the memory

constexpr std::array<std::string_view, 9> missing_words = {"",     "NA",   "N/A",  "NaN", "nan",
                                                           "null", "NULL", "None", "\\N"};

// Files that people take for CSV. Their first bytes cannot begin a header of UTF-8.
struct other_file {
    std::string_view sign;
    const char *content, *hint;
};
constexpr other_file other_files[] = {
    {"\xff\xfe", "is UTF-16", "save it as CSV in UTF-8"},
    {"\xfe\xff", "is UTF-16", "save it as CSV in UTF-8"},
    {"\x1f\x8b", "is compressed by gzip", "zcat FILE | ss1 ... --input -"},
    {"PK\x03\x04", "is a ZIP archive, such as those of spreadsheets (.xlsx)", "save it as CSV in UTF-8"},
};

// What std::from_chars() makes of the whole field, but for blanks around it and a plus before it, which from_chars()
// refuses.
template <class T>
std::errc parse_whole(std::string_view field, T &value) {
    std::string_view text = trimmed(field);
    if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return end == text.data() + text.size() ? error : std::errc::invalid_argument;
}

}  // namespace

csv_reader::csv_reader(const std::string &path, const csv_options &options)
    : in_(path), options_(options), has_options_(true) {
    read_header();
}

csv_reader::csv_reader(const std::string &path) : in_(path), has_options_(false) {
    read_header();
}

void csv_reader::read_header() {
    if (!read_record()) fail_at(1, "the file is empty: the first line must name the columns");
    if (is_blank_) {
        while (is_blank_ && read_record()) {  // to what the file may be instead
        }
        fail_at(1, "the line is blank: it must name the columns");
    }
    for (const std::string &name : fields_) header_.emplace_back(trimmed(name));
}

void csv_reader::refuse_foreign(std::string_view front) const {
    const char *what = foreign_content(front);
    if (what && !front.empty()) throw failure(in_.name() + ": " + what, "give a CSV file with a header line");
    for (const auto &[sign, content, hint] : other_files)
        if (front.starts_with(sign)) throw failure(in_.name() + ": " + content, hint);
}

void csv_reader::fail_at(size_t line, const std::string &problem, const std::string &hint) const {
    if ((line == 1 || header_.empty()) && !fields_.empty()) refuse_foreign(fields_[0]);
    throw failure(in_.name() + ":" + std::to_string(line) + ": " + problem, hint);
}

void csv_reader::fail(size_t column, const std::string &problem, const char *hint) const {
    fail_at(record_line_, "column " + shown(header_[column]) + " (" + std::to_string(column + 1) + "): " + problem,
            hint);
}

void csv_reader::fail_after_quotes(int c) const {
    const char next = static_cast<char>(c);
    const std::string hint = header_.empty() ? delimiter_hint({&next, 1}) : "";
    fail_at(in_.line(), "column " + std::to_string(n_fields_) + ": text follows the closing quote",
            hint.empty() ? mend : hint);
}

std::string csv_reader::delimiter_hint(std::string_view text) const {
    if (!has_options_) return {};
    for (const auto &[delimiter, shell] : {std::pair{';', "';'"}, {'\t', "tab"}, {',', "','"}})
        if (delimiter != options_.delimiter && text.find(delimiter) != text.npos)
            return std::string("the header has ") + (delimiter == '\t' ? "a tab" : shell) +
                   " between its names: give --delimiter " + shell;
    return {};
}

std::optional<size_t> csv_reader::find(std::string_view name) const {
    std::optional<size_t> found;
    for (size_t i = 0; i < header_.size(); ++i) {
        if (header_[i] != trimmed(name)) continue;
        if (found) fail_at(1, "column " + std::string(name) + " stands in the header twice");
        found = i;
    }
    return found;
}

size_t csv_reader::column(std::string_view name) const {
    if (const auto found = find(name)) return *found;
    refuse_foreign(header_[0]);
    // A header of one name may be several with another character between them.
    std::string hint = header_.size() == 1 ? delimiter_hint(header_[0]) : "";
    if (hint.empty())
        hint = "the first line must name every column that the model reads; 'ss1 inspect MODEL' lists them";
    throw failure(in_.name() + ":1: column " + std::string(name) + " is missing from the header", hint);
}

void csv_reader::append(std::string &field, int c) {
    if (++record_bytes_ > max_record_bytes)
        fail_at(record_line_, "the record is longer than " + human_bytes(max_record_bytes) + "; is a quote left open?");
    field.push_back(static_cast<char>(c));
}

void csv_reader::read_quoted(std::string &field) {
    in_.get();
    for (;;) {
        const int c = in_.get();
        if (c == EOF) fail_at(record_line_, "column " + std::to_string(n_fields_) + ": a quote is left open");
        if (c == '"') {
            if (in_.peek() != '"') break;
            in_.get();
        }
        append(field, c);
    }
    if (const int c = in_.peek(); c != options_.delimiter && c != '\n' && c != '\r' && c != EOF) fail_after_quotes(c);
}

void csv_reader::read_plain(std::string &field) {
    for (int c = in_.peek(); c != options_.delimiter && c != '\n' && c != EOF; c = in_.peek()) {
        if (c == '"') {
            const std::string hint = header_.empty() && n_fields_ == 1 ? delimiter_hint(field) : "";
            fail_at(in_.line(), "column " + std::to_string(n_fields_) + ": a quote inside a field without quotes",
                    hint.empty() ? mend : hint);
        }
        in_.get();
        if (c != '\r') {
            append(field, c);
        } else if (const int next = in_.peek(); next != '\n' && next != EOF) {
            fail_at(in_.line(), "column " + std::to_string(n_fields_) +
                                    ": a carriage return without a line feed: lines must end in LF or CRLF");
        }
    }
}

// Takes the separator (returns true) or the end of the line (returns false) after a field.
bool csv_reader::end_of_field() {
    int c = in_.get();
    if (c == '\r') {  // only after quotes: read_plain() has taken that of a plain field
        c = in_.get();
        if (c != '\n' && c != EOF) fail_after_quotes(c);
    }
    return c == options_.delimiter;
}

bool csv_reader::read_record() {
    if (in_.peek() == EOF) return false;
    record_line_ = in_.line();
    record_bytes_ = 0;
    n_fields_ = 0;
    for (bool more = true; more;) {
        if (n_fields_ == max_fields)
            fail_at(record_line_, "the record has more than " + std::to_string(max_fields) + " columns");
        if (n_fields_ == fields_.size()) fields_.emplace_back();
        std::string &field = fields_[n_fields_++];
        field.clear();
        const bool quoted = in_.peek() == '"';
        quoted ? read_quoted(field) : read_plain(field);
        more = end_of_field();
        is_blank_ = n_fields_ == 1 && !more && !quoted && trimmed(field).empty();
    }
    fields_.resize(n_fields_);
    return true;
}

bool csv_reader::ready() {
    while (in_.has_line(true)) {
        const size_t line = in_.line();
        if (!in_.skip_blank_line(options_.delimiter)) return true;
        if (!blank_line_) blank_line_ = line;
    }
    return false;
}

bool csv_reader::next() {
    do {
        if (!read_record()) return false;
        if (is_blank_ && !blank_line_) blank_line_ = record_line_;
    } while (is_blank_);
    if (blank_line_) fail_at(blank_line_, "the line is blank: only the last lines may be");
    if (n_fields_ != header_.size())
        fail_at(record_line_, "the line has " + std::to_string(n_fields_) + " columns, the header has " +
                                  std::to_string(header_.size()));
    return true;
}

bool parse_float(std::string_view field, float &value) {
    const std::errc error = parse_whole(field, value);
    if (error == std::errc::result_out_of_range) value = std::strtof(std::string(field).c_str(), nullptr);
    return error != std::errc::invalid_argument && std::isfinite(value);
}

bool parse_integer(std::string_view field, int64_t &value) {
    return parse_whole(field, value) == std::errc();
}

bool parse_index(std::string_view field, int64_t &value) {
    const std::string_view text = without_zeros(trimmed(field));
    return trimmed(text) == text && parse_integer(text, value);  // "1 .0" has a blank inside
}

std::string_view without_zeros(std::string_view number) {
    const size_t point = number.find('.');
    const bool has_zeros =
        point != number.npos && point + 1 < number.size() && number.find_first_not_of('0', point + 1) == number.npos;
    return has_zeros ? number.substr(0, point) : number;
}

std::string_view trimmed(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool is_missing(std::string_view field) {
    return std::ranges::find(missing_words, trimmed(field)) != missing_words.end();
}

std::string csv_quote(const std::string &field) {
    if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
    std::string quoted = "\"";
    for (const char c : field) {
        if (c == '"') quoted += '"';
        quoted += c;
    }
    return quoted + '"';
}

}  // namespace ss1::apps
