// SPDX-License-Identifier: Apache-2.0
// Fuzzes the reader of CSV files. What it accepts must be the same when it is written and read again, and numbers must
// be those of strtof().
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "apps/csv.hpp"
#include "apps/failure.hpp"

namespace {

using namespace ss1::apps;

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

struct table {
    std::vector<std::array<std::string, 2>> rows;
    bool is_whole = false;
};

// The columns a and b up to the first mistake.
table read_table(std::string_view text, char delimiter) {
    const int file = memfd_create("csv", 0);
    promise(file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    table result;
    try {
        csv_reader reader("/proc/self/fd/" + std::to_string(file), {.delimiter = delimiter});
        const size_t a = reader.column("a"), b = reader.column("b");
        while (reader.ready() && reader.next()) result.rows.push_back({reader.field(a), reader.field(b)});
        result.is_whole = true;
    } catch (const failure &mistake) {
        promise(*mistake.what() && !mistake.hint.empty());
    }
    close(file);
    return result;
}

void check_numbers(const std::string &field) {
    float value = 0;
    int64_t whole = 0;
    const bool is_number = parse_float(field, value);
    promise(is_number || !parse_integer(field, whole));
    const bool is_index = parse_index(field, whole);
    promise(is_number || !is_index);
    if (int64_t plain = 0; parse_integer(field, plain)) promise(is_index && whole == plain);
    if (is_missing(field)) promise(!is_number && !is_index);
    if (!is_number) return;
    promise(std::isfinite(value));
    promise(std::bit_cast<uint32_t>(value) == std::bit_cast<uint32_t>(std::strtof(field.c_str(), nullptr)));
}

// Reads the text, writes what it read with commas, and reads that again.
void check_text(std::string_view given, char delimiter) {
    const table first = read_table(given, delimiter);
    std::string text = "b,a\r\n";
    for (const auto &[a, b] : first.rows) {
        check_numbers(a);
        check_numbers(b);
        text += csv_quote(b) + ',' + csv_quote(a) + "\r\n";
    }
    const table again = read_table(text, ',');
    promise(again.is_whole && again.rows == first.rows);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (const char delimiter : {',', ';', '\t'}) check_text({reinterpret_cast<const char *>(data), size}, delimiter);
    return 0;
}
