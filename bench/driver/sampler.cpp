// SPDX-License-Identifier: Apache-2.0
#include "driver/sampler.hpp"

#include <CLI/CLI.hpp>

#include "cli/options.hpp"

namespace ss1::bench {

using namespace cli;

void add_sampling(CLI::App &command, sampling &rule, const std::string &samples_of_each, const std::string &for_what) {
    at_least(1, command.add_option("--repetitions", rule.samples, "Least " + samples_of_each))->capture_default_str();
    at_least(0, command.add_option("--min-time", rule.seconds, "Least seconds for " + for_what))->capture_default_str();
}

void add_most_time(CLI::App &command, sampling &rule) {
    at_least(0, command.add_option("--max-time", rule.most_seconds, "Seconds after which 5 samples of each are enough"))
        ->capture_default_str();
}

}  // namespace ss1::bench
