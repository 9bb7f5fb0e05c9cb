// SPDX-License-Identifier: Apache-2.0
// A program's commands and options as JSON, of which docs/make_help.py makes man pages and shell completions.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace ss1::cli {

// {"name", "description", "footer", "options": [{"names", "type", "description", "default", "positional", "required"}],
// "commands": [the same for each]}
std::string describe_program(const CLI::App &app);

}  // namespace ss1::cli
