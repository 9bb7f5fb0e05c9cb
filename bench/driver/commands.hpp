// SPDX-License-Identifier: Apache-2.0
// The commands of ss1-bench. Each function declares one command's options; its callback runs it.
#pragma once

namespace CLI {
class App;
}

namespace ss1::bench {

void add_linear(CLI::App &app);
void add_tower(CLI::App &app);
void add_bag(CLI::App &app);
void add_model(CLI::App &app);
void add_text(CLI::App &app);

}  // namespace ss1::bench
