// SPDX-License-Identifier: Apache-2.0
#include "cli.hpp"

#include <CLI/CLI.hpp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace ss1::cli {
namespace {

const char *hint_for(ss1_status status) {
    switch (status) {
        case SS1_ERROR_INVALID_ARGUMENT:
            return "change the option or the input that the message names; --help lists the options";
        case SS1_ERROR_UNSUPPORTED:
            return "this version of ss1 lacks it; 'ss1 info' lists its instruction sets and backends";
        case SS1_ERROR_OUT_OF_MEMORY:
            return "use a smaller --batch or a smaller model";
        case SS1_ERROR_BACKEND:
            return "'ss1 info' lists the backends";
        case SS1_ERROR_IO:
            return "check the path and its permissions";
        case SS1_ERROR_FORMAT:
            return "mend or fetch the file again; a model directory holds config.json and model.safetensors";
        default:
            return "this is a bug in ss1: please report it with the command line and 'ss1 info'";
    }
}

void log_to_stderr(void *, ss1_log_level, const char *message) {
    std::fprintf(stderr, "ss1: %s\n", message);
}

template <class Rule>
CLI::Option *require(CLI::Option *option, const char *type, const std::string &rule_text, const Rule &rule) {
    const auto validate = [=](const std::string &text) {
        char *end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        if (end != text.c_str() && !rule(value))  // CLI11 refuses what is no number by itself
            throw failure(option->get_name() + " " + text + ": must be " + rule_text, "--help tells what it is for");
        return std::string();
    };
    return option->check(validate, type);
}

}  // namespace

CLI::Option *at_least(int least, CLI::Option *option) {
    return require(option, least > 0 ? "POSITIVE" : "NONNEGATIVE", "at least " + std::to_string(least),
                   [least](double value) { return value >= least; });
}

CLI::Option *above_zero(CLI::Option *option) {
    return require(option, "POSITIVE", "above 0", [](double value) { return value > 0; });
}

void check(ss1_status status) {
    if (status != SS1_OK) throw failure(ss1_last_error(), hint_for(status));
}

context_handle make_context(uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = threads;
    options.log = log_to_stderr;
    ss1_context *context = nullptr;
    check(ss1_context_create(&options, &context));
    return context_handle(context);
}

ss1_info context_info(const context_handle &context) {
    ss1_info info = SS1_INFO_INIT;
    check(ss1_get_info(context.get(), &info));
    return info;
}

ss1_dtype model_source::weight_dtype() const {
    if (dtype.empty()) return SS1_DTYPE_DEFAULT;
    if (dtype == "f32") return SS1_DTYPE_F32;
    if (dtype == "bf16") return SS1_DTYPE_BF16;
    if (dtype == "int8") return SS1_DTYPE_I8;
    throw failure("--dtype: '" + dtype + "' is none of f32, bf16, int8");
}

ss1_model_options model_source::options() const {
    ss1_model_options result = SS1_MODEL_OPTIONS_INIT;
    result.weight_dtype = weight_dtype();
    result.random_weights = random_seed.has_value();
    result.seed = random_seed.value_or(0);
    return result;
}

void add_random_weights(CLI::App &command, model_source &source) {
    command.add_option("--random-weights", source.random_seed,
                       "Draw the weights by this seed instead of reading them; only config.json is needed");
}

void add_dtype(CLI::App &command, model_source &source, const std::string &help) {
    command.add_option("--dtype", source.dtype, help);
}

model_handle load_model(const context_handle &context, const std::string &directory, const ss1_model_options &options) {
    ss1_model *model = nullptr;
    check(ss1_model_load(context.get(), directory.c_str(), &options, &model));
    return model_handle(model);
}

ss1_model_info describe(const model_handle &model) {
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    check(ss1_model_describe(model.get(), &info));
    return info;
}

ss1_model_layer_info describe_layer(const model_handle &model, size_t i) {
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    check(ss1_model_layer(model.get(), i, &info));
    return info;
}

const char *dtype_name(ss1_dtype dtype) {
    static constexpr const char *names[] = {"default", "f32", "bf16", "f16", "int8", "uint8", "i32", "i64"};
    return names[dtype];
}

const char *scheme_name(const ss1_linear_desc &desc) {
    if (desc.c == 1) return "dense";
    return desc.scheme == SS1_SCHEME_REFERENCE ? "reference" : "mixed";
}

ss1_scheme parse_scheme(const std::string &name) {
    if (name == "reference") return SS1_SCHEME_REFERENCE;
    if (name == "mixed") return SS1_SCHEME_MIXED;
    throw failure("--scheme: '" + name + "' is neither reference nor mixed");
}

std::string format(const char *pattern, ...) {
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    std::string text(static_cast<size_t>(std::vsnprintf(nullptr, 0, pattern, arguments)), '\0');
    std::vsnprintf(text.data(), text.size() + 1, pattern, again);
    va_end(again);
    va_end(arguments);
    return text;
}

std::string human_bytes(size_t bytes) {
    if (bytes < 1024) return format("%zu B", bytes);
    const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes) / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit < 3; ++unit) value /= 1024;
    return format("%.1f %s", value, units[unit]);
}

}  // namespace ss1::cli
