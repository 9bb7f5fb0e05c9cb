// SPDX-License-Identifier: Apache-2.0
// The `ss1` command.
#include <CLI/CLI.hpp>
#include <string_view>

#include "cli/commands.hpp"
#include "cli/program.hpp"

namespace {

void add_commands(CLI::App &app) {
    app.footer(
        "Examples:\n"
        "  ss1 info\n"
        "  ss1 convert model model-c4 -c 4\n"
        "  ss1 run model-c4 --input rows.csv --output scores.csv\n"
        "  ss1 embed minilm --text docs.txt -o npy --output docs.npy\n"
        "Exit codes: 0 for success, 2 for every error, whose message is on stderr; 128 and the signal's number after a "
        "signal.\n"
        "Benchmarks are in a program of their own: ss1-bench --help");
    ss1::cli::add_info(app);
    ss1::cli::add_inspect(app);
    ss1::cli::add_convert(app);
    ss1::cli::add_run(app);
    ss1::cli::add_embed(app);
    ss1::cli::add_rerank(app);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc > 1 && std::string_view(argv[1]) == "bench")
        return ss1::cli::complain("ss1", "the command is ss1-bench: 'ss1-bench --help' lists its benchmarks", "");
    return ss1::cli::run_program({"ss1", "SS1 sketch structured linear layers, DLRM and BERT on CPUs", add_commands},
                                 argc, argv);
}
