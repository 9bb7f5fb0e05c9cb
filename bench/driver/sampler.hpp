// SPDX-License-Identifier: Apache-2.0
// The options of apps/sampler.hpp.
#pragma once
#include <string>

#include "apps/sampler.hpp"

namespace CLI {
class App;
}

namespace ss1::bench {

using apps::interleave, apps::layer_sampling, apps::sampling, apps::sorted, apps::timing;

// Adds --repetitions, the least `samples_of_each`, and --min-time, the least seconds `for_what`.
void add_sampling(CLI::App &command, sampling &rule, const std::string &samples_of_each, const std::string &for_what);
// Adds --max-time.
void add_most_time(CLI::App &command, sampling &rule);

}  // namespace ss1::bench
