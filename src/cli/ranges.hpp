// SPDX-License-Identifier: Apache-2.0
// Lists of values as llama-bench takes them: "1,8", "1-8", "16-64+16", "1-8*2" and any mix of these.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ss1::cli {

// `option` is what messages call the text; every value must be in [1, max].
std::vector<size_t> parse_ranges(std::string_view option, std::string_view text, size_t max);

// Comma separated, none empty.
std::vector<std::string> parse_names(std::string_view option, std::string_view text);

}  // namespace ss1::cli
