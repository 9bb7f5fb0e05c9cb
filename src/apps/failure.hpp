// SPDX-License-Identifier: Apache-2.0
// The error that programs report to their user.
#pragma once
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "ss1/ss1.h"

namespace ss1::apps {

// The message tells the problem, `hint` how to solve it.
struct failure : std::runtime_error {
    explicit failure(const std::string &message, std::string how_to_solve = "")
        : std::runtime_error(message), hint(std::move(how_to_solve)) {}
    std::string hint;
};

// The option that a user knows an argument of the library by.
struct option_name {
    std::string_view argument, option;
};

// Throws a failure with the library's message unless `status` is SS1_OK. If the message is about an argument of
// `names`, it names the option instead.
void check(ss1_status status, std::span<const option_name> names = {});

}  // namespace ss1::apps
