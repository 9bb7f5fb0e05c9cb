// SPDX-License-Identifier: Apache-2.0
#include "cli/describe.hpp"

#include <CLI/CLI.hpp>

#include "apps/json.hpp"

namespace ss1::cli {
namespace {

using apps::json;

json option_to_json(const CLI::Option &option) {
    json names = json::array();
    for (const std::string &name : option.get_snames()) names.push_back('-' + name);
    for (const std::string &name : option.get_lnames()) names.push_back("--" + name);
    if (option.get_positional()) names.push_back(option.get_name(true));
    return {{"names", names},
            {"type", option.get_type_size() ? option.get_type_name() : ""},
            {"description", option.get_description()},
            {"default", option.get_default_str()},
            {"positional", option.get_positional()},
            {"required", option.get_required()}};
}

json command_to_json(const CLI::App &app) {
    json options = json::array(), commands = json::array();
    for (const CLI::Option *option : app.get_options()) options.push_back(option_to_json(*option));
    for (const CLI::App *command : app.get_subcommands([](const CLI::App *c) { return !c->get_group().empty(); }))
        commands.push_back(command_to_json(*command));
    return {{"name", app.get_name()},
            {"description", app.get_description()},
            {"footer", app.get_footer()},
            {"options", std::move(options)},
            {"commands", std::move(commands)}};
}

}  // namespace

std::string describe_program(const CLI::App &app) {
    return command_to_json(app).dump(2) + '\n';
}

}  // namespace ss1::cli
