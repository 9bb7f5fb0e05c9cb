// SPDX-License-Identifier: Apache-2.0
#include "cli/program.hpp"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <new>
#include <sstream>

#include "apps/failure.hpp"
#include "apps/notes.hpp"
#include "apps/output.hpp"
#include "cli/describe.hpp"
#include "ss1/ss1.h"

namespace ss1::cli {
namespace {

// "ss1-bench linear": the program and the subcommands that were recognised.
std::string command_of(const CLI::App &app) {
    std::string command = app.get_name();
    for (const CLI::App *at = &app; !at->get_subcommands().empty();) {
        at = at->get_subcommands().front();
        command += ' ' + at->get_name();
    }
    return command;
}

// Every command has these; a command without a context or progress has nothing to say.
void add_verbosity(CLI::App &command) {
    command.add_flag_callback(
        "-q,--quiet", [] { apps::set_verbosity(-1); }, "Write nothing but results and errors");
    command.add_flag_function(
        "-v,--verbose", [](std::int64_t times) { apps::set_verbosity(static_cast<int>(times)); },
        "Say what the library decides; -vv says more");
}

// --help and --version arrive as "errors" with exit code 0 whose text belongs on stdout.
int end_of_parse(const CLI::App &app, const CLI::ParseError &error) {
    std::ostringstream text, ignored;
    if (app.exit(error, text, ignored) != 0) {
        // CLI11 reports a missing subcommand before it reports an unknown one.
        const std::vector<std::string> unknown = app.remaining(true);
        const bool no_command = dynamic_cast<const CLI::RequiredError *>(&error) && !unknown.empty();
        return complain(app.get_name(), no_command ? "'" + unknown.front() + "' is not understood" : error.what(),
                        "see '" + command_of(app) + " --help'");
    }
    apps::output out;
    out.write(text.str());
    out.close();
    return 0;
}

int parse_and_run(const program &what, int argc, char **argv) {
    CLI::App app(what.description, what.name);
    app.set_version_flag("--version", std::string(what.name) + ' ' + ss1_version());
    app.require_subcommand(1);
    what.add_commands(app);
    for (CLI::App *command : app.get_subcommands({})) add_verbosity(*command);
    // Not in --help: the build makes man pages and completions of its output.
    app.add_subcommand("describe", "Print the commands and options as JSON")->group("")->callback([&app] {
        apps::output out;
        out.write(describe_program(app));
        out.close();
    });
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
        return end_of_parse(app, error);
    } catch (const apps::failure &error) {
        return complain(what.name, error.what(), error.hint);
    }
    return 0;
}

}  // namespace

int complain(const std::string &name, const std::string &message, const std::string &hint) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), message.c_str());
    if (!hint.empty()) std::fprintf(stderr, "%*s%s\n", static_cast<int>(name.size()) + 2, "", hint.c_str());
    return 2;
}

int run_program(const program &what, int argc, char **argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe then makes the write fail with EPIPE, whatever the parent has set
    try {
        return parse_and_run(what, argc, argv);
    } catch (const apps::closed_pipe &) {
        return 0;
    } catch (const std::bad_alloc &) {
        return complain(what.name, "out of memory", "use smaller shapes or a smaller --batch");
    } catch (const std::exception &error) {
        return complain(what.name, error.what(), "");
    }
}

}  // namespace ss1::cli
