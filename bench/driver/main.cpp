// SPDX-License-Identifier: Apache-2.0
// The `ss1-bench` command.
#include <CLI/CLI.hpp>

#include "cli/program.hpp"
#include "driver/commands.hpp"

namespace {

void add_commands(CLI::App &app) {
    app.footer(
        "Examples:\n"
        "  ss1-bench linear -m 1-64*4 -c 4\n"
        "  ss1-bench tower --dtype bf16\n"
        "  ss1-bench bag -d 128 --dtype f32,int8\n"
        "  ss1-bench model model model-c4 --batch 1,64\n"
        "  ss1-bench text model --text mails.txt");
    ss1::bench::add_linear(app);
    ss1::bench::add_tower(app);
    ss1::bench::add_model(app);
    ss1::bench::add_bag(app);
    ss1::bench::add_text(app);
}

}  // namespace

int main(int argc, char **argv) {
    return ss1::cli::run_program(
        {"ss1-bench", "Measure layers, towers of layers, models, embedding bags or tokenizers", add_commands}, argc,
        argv);
}
