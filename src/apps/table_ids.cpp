// SPDX-License-Identifier: Apache-2.0
#include "apps/table_ids.hpp"

#include <bit>
#include <nlohmann/json.hpp>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/text_lines.hpp"
#include "io/foreign.hpp"

namespace ss1::apps {
namespace {

uint32_t byte(std::string_view text, size_t i) {
    return static_cast<unsigned char>(text[i]);
}

// MurmurHash3_x86_32 with the seed 0.
uint32_t murmur3(std::string_view text) {
    const auto scrambled = [](uint32_t k) { return std::rotl(k * 0xcc9e2d51u, 15) * 0x1b873593u; };
    uint32_t h = 0, tail = 0;
    const size_t whole = text.size() / 4 * 4;
    for (size_t i = 0; i < whole; i += 4) {
        const uint32_t k = byte(text, i) | byte(text, i + 1) << 8 | byte(text, i + 2) << 16 | byte(text, i + 3) << 24;
        h = std::rotl(h ^ scrambled(k), 13) * 5 + 0xe6546b64u;
    }
    for (size_t i = whole; i < text.size(); ++i) tail |= byte(text, i) << (8 * (i - whole));
    h ^= scrambled(tail) ^ static_cast<uint32_t>(text.size());
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

// The number that the digits write, however many there are, modulo `rows`; -1 if they write none. A table has at most
// 2^40 rows, so no step overflows.
int64_t remainder(std::string_view digits, int base, int64_t rows) {
    int64_t value = digits.empty() ? -1 : 0;
    for (const char c : digits) {
        if (digit_of(c) >= base) return -1;
        value = (value * base + digit_of(c)) % rows;
    }
    return value;
}

// The same of a decimal whole number with or without a sign, and with or without zeros after a point.
int64_t decimal_remainder(std::string_view text, int64_t rows) {
    const bool is_negative = text.starts_with('-');
    if (is_negative || text.starts_with('+')) text.remove_prefix(1);
    const int64_t value = remainder(without_zeros(text), 10, rows);
    return is_negative && value > 0 ? rows - value : value;
}

}  // namespace

table_ids::table_ids(const nlohmann::json &entry) : rows_(entry.at("rows")) {
    if (entry.contains("vocabulary")) {
        kind_ = kind::vocabulary;
        file_ = entry["vocabulary"];
        if (entry.contains("unknown")) unknown_ = entry["unknown"].get<int64_t>();
    } else if (entry.contains("hash")) {
        const std::string hash = entry["hash"];
        if (hash != "murmur3" && hash != "hex" && hash != "modulo")
            throw failure("the program knows no hash '" + hash + "'", "use the ss1 of the library's version");
        kind_ = hash == "murmur3" ? kind::murmur3 : hash == "hex" ? kind::hex : kind::modulo;
    }
}

void table_ids::load(const std::string &directory) {
    if (kind_ != kind::vocabulary || !vocabulary_.empty()) return;
    text_lines lines(directory + "/" + file_, text_lines::kind::any_text);
    const std::string &name = lines.input().name();
    for (size_t n = 1; lines.next(); ++n) {
        const std::string &line = lines.first();
        if (const char *what = n == 1 ? foreign_content(line) : nullptr; what && !line.empty())
            throw failure(name + ": " + what, "give the file of the vocabulary");
        add_line(name + ":" + std::to_string(n) + ": ", line);
    }
    if (vocabulary_.empty())
        throw failure(name + ": the file is empty", "a vocabulary has the id of row 0 in its first line");
}

void table_ids::add_line(const std::string &where, const std::string &line) {
    constexpr const char *mend = "mend this line of the vocabulary";
    if (line.empty() || trimmed(line) != line)
        throw failure(where + (line.empty() ? "the line is empty" : "blanks stand around '" + shown(line) + "'"), mend);
    for (const auto &[sign, name] : {std::pair{'|', "a |, which separates ids"}, {'\r', "a carriage return"}})
        if (line.find(sign) != line.npos) throw failure(where + "'" + shown(line) + "' has " + name, mend);
    if (!is_utf8(line)) throw failure(where + "'" + shown(line) + "' is not UTF-8", mend);
    const auto row = static_cast<int64_t>(vocabulary_.size());
    if (row == rows_)
        throw failure(where + "the vocabulary has more lines than the table has rows, " + std::to_string(rows_),
                      "give the vocabulary that the model was trained with");
    const auto [earlier, is_new] = vocabulary_.emplace(line, row);
    if (!is_new)
        throw failure(where + "'" + shown(line) + "' stands in line " + std::to_string(earlier->second + 1) + ", too",
                      mend);
}

int64_t table_ids::row(const csv_reader &reader, size_t column, std::string_view field) const {
    const std::string_view id = trimmed(field);
    int64_t row = -1;
    switch (kind_) {
        case kind::index:
            return index(reader, column, field);
        case kind::vocabulary:
            return listed(reader, column, id);
        case kind::murmur3:
            if (id.empty()) reader.fail(column, "'' is not an id");
            return murmur3(id) % rows_;
        case kind::hex:
            row = remainder(id, 16, rows_);
            if (row < 0) reader.fail(column, "'" + shown(id) + "' is not a hexadecimal number");
            return row;
        case kind::modulo:
            row = decimal_remainder(id, rows_);
            if (row < 0) reader.fail(column, "'" + shown(id) + "' is not a whole number");
            return row;
    }
    return row;
}

int64_t table_ids::index(const csv_reader &reader, size_t column, std::string_view id) const {
    int64_t index = 0;
    if (!parse_index(id, index)) reader.fail(column, "'" + shown(id) + "' is not a whole number");
    if (index < 0 || index >= rows_)
        reader.fail(column,
                    "index " + shown(id) + " is out of range: the table has " + std::to_string(rows_) + " rows");
    return index;
}

int64_t table_ids::listed(const csv_reader &reader, size_t column, std::string_view id) const {
    const auto found = vocabulary_.find(std::string(id));
    if (found != vocabulary_.end()) return found->second;
    if (id.empty()) reader.fail(column, "'' is not an id");
    if (!is_utf8(id))
        reader.fail(column, "'" + shown(id) + "' is not UTF-8, which " + file_ + " is", "save the CSV file as UTF-8");
    if (!unknown_)
        reader.fail(column, "'" + shown(id) + "' is not an id of " + file_,
                    "\"unknown\" of the table in config.json may name a row for such ids");
    return *unknown_;
}

}  // namespace ss1::apps
