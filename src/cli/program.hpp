// SPDX-License-Identifier: Apache-2.0
// The main function of a program with subcommands: data is written to stdout, everything else to stderr; the exit code
// is 0 or 2.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace ss1::cli {

struct program {
    const char *name;         // "ss1"
    const char *description;  // the first line of --help
    void (*add_commands)(CLI::App &app);
};

// Parses the command line and runs the subcommand. Returns the exit code.
int run_program(const program &what, int argc, char **argv);

// Writes "NAME: MESSAGE" and the hint, if there is one, to stderr. Returns the exit code 2.
int complain(const std::string &name, const std::string &message, const std::string &hint);

}  // namespace ss1::cli
