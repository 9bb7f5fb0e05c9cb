// SPDX-License-Identifier: Apache-2.0
// What the subcommands share: their errors, the handles of the C API and options that several of them have.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "ss1/ss1.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ss1::cli {

// Ends the command with exit code 2; `hint` says what to do about it.
struct failure : std::runtime_error {
    explicit failure(const std::string &message, std::string what_to_do = "")
        : std::runtime_error(message), hint(std::move(what_to_do)) {}
    std::string hint;
};

// Turns an error of the library into a failure with its message.
void check(ss1_status status);

template <auto destroy>
struct destroy_with {
    template <class T>
    void operator()(T *handle) const {
        destroy(&handle);
    }
};
using context_handle = std::unique_ptr<ss1_context, destroy_with<ss1_context_destroy>>;
using layer_handle = std::unique_ptr<ss1_layer, destroy_with<ss1_layer_destroy>>;
using tower_handle = std::unique_ptr<ss1_tower, destroy_with<ss1_tower_destroy>>;
using model_handle = std::unique_ptr<ss1_model, destroy_with<ss1_model_destroy>>;
using session_handle = std::unique_ptr<ss1_session, destroy_with<ss1_session_destroy>>;

// 0 threads: the library's default. Its warnings go to stderr.
context_handle make_context(uint32_t threads = 0);
ss1_info context_info(const context_handle &context);

// The model directory of a command line, its --random-weights and its --dtype.
struct model_source {
    std::string directory, dtype;
    std::optional<uint64_t> random_seed;

    ss1_dtype weight_dtype() const;  // SS1_DTYPE_DEFAULT if --dtype is not given
    ss1_model_options options() const;
};
void add_random_weights(CLI::App &command, model_source &source);
void add_dtype(CLI::App &command, model_source &source,
               const std::string &help =
                   "Hold the weights of every linear layer as f32, bf16 or int8; default: as "
                   "config.json says");
model_handle load_model(const context_handle &context, const std::string &directory, const ss1_model_options &options);
ss1_model_info describe(const model_handle &model);
ss1_model_layer_info describe_layer(const model_handle &model, size_t i);

// Refuse other numbers, with option, value and rule; CLI11's own messages print the largest double in full.
CLI::Option *at_least(int least, CLI::Option *option);
CLI::Option *above_zero(CLI::Option *option);

const char *dtype_name(ss1_dtype dtype);  // "int8" for SS1_DTYPE_I8
const char *scheme_name(const ss1_linear_desc &desc);
ss1_scheme parse_scheme(const std::string &name);

std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
// "1.5 MiB"
std::string human_bytes(size_t bytes);

// One per subcommand: declares its options; its callback runs it.
void add_info(CLI::App &app);
void add_inspect(CLI::App &app);
void add_convert(CLI::App &app);
void add_run(CLI::App &app);
void add_bench_bag(CLI::App &bench);
void add_bench_linear(CLI::App &bench);
void add_bench_model(CLI::App &bench);
void add_bench_tower(CLI::App &bench);

}  // namespace ss1::cli
