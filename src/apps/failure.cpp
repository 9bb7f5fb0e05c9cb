// SPDX-License-Identifier: Apache-2.0
#include "apps/failure.hpp"

#include <algorithm>

namespace ss1::apps {
namespace {

const char *hint_for(ss1_status status) {
    switch (status) {
        case SS1_ERROR_INVALID_ARGUMENT:
            return "change the option or the input that the message names; --help lists the options";
        case SS1_ERROR_UNSUPPORTED:
            return "this version of ss1 lacks it";
        case SS1_ERROR_OUT_OF_MEMORY:
            return "use a smaller --batch or a smaller model";
        case SS1_ERROR_BACKEND:
            return "'ss1 info' lists the backends";
        case SS1_ERROR_IO:
            return "check the path and its permissions";
        case SS1_ERROR_FORMAT:
            return "mend or fetch the file again; a model directory holds config.json and model.safetensors";
        default:
            return "this is a bug in ss1: please report it with the command line and 'ss1 info'";
    }
}

}  // namespace

void check(ss1_status status, std::span<const option_name> names) {
    if (status == SS1_OK) return;
    std::string message = ss1_last_error();
    const size_t at = std::min(message.find("args."), message.size());  // behind the name of the function
    for (const auto &[argument, option] : names) {
        if (!std::string_view(message).substr(at).starts_with(argument)) continue;
        message = std::string(option) + message.substr(at + argument.size());
        break;
    }
    throw failure(message, hint_for(status));
}

}  // namespace ss1::apps
