// SPDX-License-Identifier: Apache-2.0
// The error that programs report to their user.
#pragma once
#include <stdexcept>
#include <string>

#include "ss1/ss1.h"

namespace ss1::apps {

// The message tells the problem, `hint` how to solve it.
struct failure : std::runtime_error {
    explicit failure(const std::string &message, std::string how_to_solve = "")
        : std::runtime_error(message), hint(std::move(how_to_solve)) {}
    std::string hint;
};

// Throws a failure with the library's message unless `status` is SS1_OK.
void check(ss1_status status);

}  // namespace ss1::apps
