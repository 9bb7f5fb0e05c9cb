// SPDX-License-Identifier: Apache-2.0
#include "cli/ranges.hpp"

#include <charconv>

#include "apps/failure.hpp"

namespace ss1::cli {
namespace {

constexpr size_t max_values = 10000;  // a longer list, such as 1-1000000, is a typing error

[[noreturn]] void fail(std::string_view option, std::string_view item, const std::string &rule) {
    throw apps::failure(std::string(option) + ": '" + std::string(item) + "' " + rule,
                        "write values and ranges like 1,8 or 1-8 or 16-64+16 or 1-8*2");
}

// Parses a number at the start of `rest` and removes it.
size_t take_number(std::string_view option, std::string_view item, std::string_view &rest) {
    size_t value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error != std::errc() || value == 0) fail(option, item, "is not a whole number above 0 or a range of them");
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    return value;
}

void append_range(std::string_view option, std::string_view item, size_t max, std::vector<size_t> &values) {
    std::string_view rest = item;
    const size_t first = take_number(option, item, rest);
    size_t last = first, step = 1;
    char operation = '+';
    if (rest.starts_with('-')) {
        rest.remove_prefix(1);
        last = take_number(option, item, rest);
        if (rest.starts_with('+') || rest.starts_with('*')) {
            operation = rest.front();
            rest.remove_prefix(1);
            step = take_number(option, item, rest);
        }
    }
    if (!rest.empty()) fail(option, item, "has '" + std::string(rest) + "' after the value");
    if (last < first) fail(option, item, "ends below its start");
    if (last > max) fail(option, item, "is above the limit of " + std::to_string(max));
    if (operation == '*' && step == 1) fail(option, item, "never ends: the factor must be at least 2");
    for (size_t value = first; value <= last; value = operation == '*' ? value * step : value + step) {
        if (values.size() == max_values)
            fail(option, item, "makes more than " + std::to_string(max_values) + " values");
        values.push_back(value);
        if (step > max || value > max / (operation == '*' ? step : 1)) break;  // the next one would be above max
    }
}

}  // namespace

std::vector<std::string> parse_names(std::string_view option, std::string_view text) {
    std::vector<std::string> names;
    for (size_t begin = 0; begin <= text.size();) {
        const size_t end = std::min(text.find(',', begin), text.size());
        if (end == begin)
            throw apps::failure(std::string(option) + ": '" + std::string(text) + "' has an empty value",
                                "write values with one comma between two");
        names.emplace_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return names;
}

std::vector<size_t> parse_ranges(std::string_view option, std::string_view text, size_t max) {
    std::vector<size_t> values;
    for (const std::string &item : parse_names(option, text)) append_range(option, item, max, values);
    return values;
}

}  // namespace ss1::cli
