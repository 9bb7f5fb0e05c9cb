// SPDX-License-Identifier: Apache-2.0
// The commands of ss1. Each function declares one command's options; its callback runs it.
#pragma once

namespace CLI {
class App;
}

namespace ss1::cli {

void add_info(CLI::App &app);
void add_inspect(CLI::App &app);
void add_convert(CLI::App &app);
void add_run(CLI::App &app);
void add_embed(CLI::App &app);
void add_rerank(CLI::App &app);

}  // namespace ss1::cli
