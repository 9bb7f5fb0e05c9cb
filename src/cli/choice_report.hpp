// SPDX-License-Identifier: Apache-2.0
// What a choice found, for people, programs and eyes.
#pragma once
#include <string>

#include "cli/choice.hpp"

namespace ss1::cli {

std::string report_text(const choice &what);
std::string report_json(const choice &what);
std::string report_svg(const choice &what);

}  // namespace ss1::cli
