// SPDX-License-Identifier: Apache-2.0
// The `ss1` command: data on stdout, everything else on stderr, exit code 0 or 2.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <new>
#include <sstream>

#include "cli.hpp"
#include "output.hpp"

namespace {

int complain(const std::string &message, const std::string &hint) {
    std::fprintf(stderr, "ss1: %s\n", message.c_str());
    if (!hint.empty()) std::fprintf(stderr, "     %s\n", hint.c_str());
    return 2;
}

// "ss1 bench linear", as far as the command line got.
std::string command_of(const CLI::App &app) {
    std::string command = "ss1";
    for (const CLI::App *at = &app; !at->get_subcommands().empty();) {
        at = at->get_subcommands().front();
        command += ' ' + at->get_name();
    }
    return command;
}

// --help and --version arrive as "errors" with exit code 0 whose text belongs on stdout.
int end_of_parse(const CLI::App &app, const CLI::ParseError &error) {
    std::ostringstream text, ignored;
    if (app.exit(error, text, ignored) != 0) {
        // CLI11 misses a subcommand before it sees that one is unknown.
        const std::vector<std::string> unknown = app.remaining(true);
        const bool no_command = dynamic_cast<const CLI::RequiredError *>(&error) && !unknown.empty();
        return complain(no_command ? "'" + unknown.front() + "' is not understood" : error.what(),
                        "'" + command_of(app) + " --help' shows what is");
    }
    ss1::cli::output out;
    out.write(text.str());
    out.close();
    return 0;
}

int run(int argc, char **argv) {
    CLI::App app("SS1 sketch structured linear layers, DLRM and BERT on CPUs", "ss1");
    app.set_version_flag("--version", std::string("ss1 ") + ss1_version());
    app.require_subcommand(1);
    app.footer(
        "Examples:\n"
        "  ss1 info\n"
        "  ss1 convert model model-c4 -c 4\n"
        "  ss1 run model-c4 --input rows.csv --output scores.csv\n"
        "  ss1 bench model model model-c4");
    ss1::cli::add_info(app);
    ss1::cli::add_inspect(app);
    ss1::cli::add_convert(app);
    ss1::cli::add_run(app);
    CLI::App &bench = *app.add_subcommand("bench", "Measure layers, towers of layers, models or embedding bags");
    bench.require_subcommand(1);
    bench.footer(
        "Examples:\n  ss1 bench linear -m 1-64*4 -c 4\n  ss1 bench model model --batch 1,64\n  ss1 bench tower --dtype "
        "bf16\n  ss1 bench bag -d 128 --dtype f32,int8");
    ss1::cli::add_bench_linear(bench);
    ss1::cli::add_bench_tower(bench);
    ss1::cli::add_bench_model(bench);
    ss1::cli::add_bench_bag(bench);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
        return end_of_parse(app, error);
    } catch (const ss1::cli::failure &error) {
        return complain(error.what(), error.hint);
    }
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe then shows as EPIPE, wherever it was set to before
    try {
        return run(argc, argv);
    } catch (const ss1::cli::closed_pipe &) {
        return 0;
    } catch (const std::bad_alloc &) {
        return complain("out of memory", "use smaller shapes or a smaller --batch");
    } catch (const std::exception &error) {
        return complain(error.what(), "");
    }
}
