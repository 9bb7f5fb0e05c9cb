// SPDX-License-Identifier: Apache-2.0
// Options that several commands share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "apps/csv.hpp"
#include "ss1/ss1.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ss1::cli {

// The model directory of a command line, its --random-weights and its --dtype.
struct model_source {
    std::string directory, dtype;
    std::optional<uint64_t> random_seed;

    ss1_dtype weight_dtype() const;  // SS1_DTYPE_DEFAULT without --dtype
    ss1_model_options options() const;
};
void add_random_weights(CLI::App &command, model_source &source);
void add_dtype(CLI::App &command, model_source &source,
               const std::string &help =
                   "Hold the weights of every linear layer as f32, bf16 or int8; default: the types of config.json");

// --delimiter and --missing of a command that reads the rows of a model; "" where they are not given.
struct csv_source {
    std::string delimiter, missing;

    bool is_given() const { return !delimiter.empty() || !missing.empty(); }
    apps::csv_options options() const;
};
// `file` is the option that names the CSV file.
void add_csv_options(CLI::App &command, csv_source &source, const std::string &file);

// These refuse other numbers and name the option, the value and the rule; CLI11's own messages print the largest double
// in full.
CLI::Option *at_least(int least, CLI::Option *option);
CLI::Option *above_zero(CLI::Option *option);
// Refuses an empty text, as an unset variable of a shell gives it; `noun` says what it would be.
CLI::Option *not_empty(CLI::Option *option, const std::string &noun = "path");
// Refuses that `path` of `option` is the regular file `other`, which the message calls `what`.
void refuse_same_file(const std::string &path, const char *option, const std::string &other, const char *what);
// The same for the input, whose path may be "-" for stdin, and the files of the model directory.
void protect_sources(const std::string &path, const char *option, const std::string &input, const std::string &model);

// What commands that encode texts share.
struct encode_options {
    model_source model;
    std::string text, output = "-";
    size_t max_tokens = 0, batch_tokens = 0;
    uint32_t threads = 0;
};
void add_encode_options(CLI::App &command, encode_options &options);

ss1_scheme parse_scheme(const std::string &name);

}  // namespace ss1::cli
