// SPDX-License-Identifier: Apache-2.0
// Parses lists of values in the syntax of llama-bench: "1,8", "1-8", "16-64+16", "1-8*2" and any mix of these.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ss1::cli {

// Messages call the text `option`. Every value must be in [1, max].
std::vector<size_t> parse_ranges(std::string_view option, std::string_view text, size_t max);

// Splits at commas; refuses empty names.
std::vector<std::string> parse_names(std::string_view option, std::string_view text);

}  // namespace ss1::cli
