// SPDX-License-Identifier: Apache-2.0
// Precompiled once for the command line: the two headers that cost most of its build time.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
