// SPDX-License-Identifier: Apache-2.0
// JSON documents whose members keep their order.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "ss1/ss1.h"

namespace ss1::apps {

using json = nlohmann::ordered_json;

// `value` with this number of decimals, so that files do not fill with digits that mean nothing.
double rounded(double value, int decimals);

// `value` with the digits that an f32 determines.
double six_digits(double value);

// CPU, compiler and version: every measurement depends on them.
json machine_info(const ss1_info &info);

// One line. Bytes of strings that are not UTF-8 become U+FFFD.
std::string to_line(const json &value);

// False if a number in `value` is infinite or NaN: JSON cannot express it.
bool is_finite(const json &value);

}  // namespace ss1::apps
