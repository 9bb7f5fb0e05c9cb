// SPDX-License-Identifier: Apache-2.0
#include "cli/options.hpp"

#include <algorithm>
#include <cctype>
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::cli {

using apps::failure;

namespace {

template <class Rule>
CLI::Option *require(CLI::Option *option, const char *type, const std::string &rule_text, const Rule &rule) {
    const auto validate = [=](const std::string &text) {
        char *end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        if (end != text.c_str() && !rule(value))  // CLI11 itself refuses a text that is not a number
            throw failure(option->get_name() + " " + text + ": must be " + rule_text, "--help describes the option");
        return std::string();
    };
    return option->check(validate, type);
}

char parse_delimiter(const std::string &text) {
    if (text == "tab") return '\t';
    const bool is_one = text.size() == 1 && (text == "\t" || (text[0] > ' ' && text[0] <= '~')) && text != "\"";
    if (!is_one)
        throw failure("--delimiter '" + apps::shown(text) +
                          "': must be one printable ASCII character other than a blank and a quote, or the word tab",
                      "give --delimiter ';', or --delimiter tab");
    return text[0];
}

const std::map<std::string, apps::missing_value> &missing_names() {
    static const std::map<std::string, apps::missing_value> names = {{"error", apps::missing_value::error},
                                                                     {"zero", apps::missing_value::zero},
                                                                     {"mean", apps::missing_value::mean},
                                                                     {"skip", apps::missing_value::skip}};
    return names;
}

}  // namespace

CLI::Option *at_least(int least, CLI::Option *option) {
    return require(option, least > 0 ? "POSITIVE" : "NONNEGATIVE", "at least " + std::to_string(least),
                   [least](double value) { return value >= least; });
}

CLI::Option *above_zero(CLI::Option *option) {
    return require(option, "POSITIVE", "above 0", [](double value) { return value > 0; });
}

CLI::Option *not_empty(CLI::Option *option, const std::string &noun) {
    const auto validate = [=](const std::string &text) {
        if (text.empty())
            throw failure(option->get_name() + ": the " + noun + " is empty", "--help describes the option");
        return std::string();
    };
    std::string type = noun;
    std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return option->check(validate, type);
}

void refuse_same_file(const std::string &path, const char *option, const std::string &other, const char *what) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (path.empty() || path == "-" || other == "-") return;
    const bool is_new = !fs::exists(path, ignored);
    if (!is_new && !fs::is_regular_file(path, ignored)) return;
    const fs::path whole = is_new ? fs::weakly_canonical(path, ignored) : fs::path();
    if (is_new ? !whole.empty() && whole == fs::weakly_canonical(other, ignored) : fs::equivalent(path, other, ignored))
        throw failure(std::string(option) + " " + path + " is " + what, "write to another file");
}

void protect_sources(const std::string &path, const char *option, const std::string &input, const std::string &model) {
    namespace fs = std::filesystem;
    refuse_same_file(path, option, input == "-" ? "/dev/stdin" : input, "the input file");
    std::error_code ignored;
    for (const fs::directory_entry &entry :
         fs::recursive_directory_iterator(model, fs::directory_options::skip_permission_denied, ignored))
        refuse_same_file(path, option, entry.path(), "a file of the model");
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

apps::csv_options csv_source::options() const {
    apps::csv_options result;
    if (!delimiter.empty()) result.delimiter = parse_delimiter(delimiter);
    if (!missing.empty()) result.missing = missing_names().at(missing);
    return result;
}

void add_csv_options(CLI::App &command, csv_source &source, const std::string &file) {
    command
        .add_option("--delimiter", source.delimiter,
                    "What separates the fields of " + file +
                        ": one character, or the word tab; default: a comma. It is never guessed, and outputs have "
                        "commas")
        ->check([](const std::string &text) { return parse_delimiter(text), std::string(); }, "CHARACTER");
    command
        .add_option("--missing", source.missing,
                    "DLRM: what a row of " + file +
                        " without a value of a dense feature (blank, NA, N/A, NaN, nan, null, NULL, None, \\N) is "
                        "worth: error (the default); zero; mean, by dense_means of config.json; or skip, which leaves "
                        "the row out. In a table's column the words are left out of the bag, but error refuses them")
        ->check(CLI::IsMember(missing_names()));
}

void add_random_weights(CLI::App &command, model_source &source) {
    command.add_option("--random-weights", source.random_seed,
                       "Draw the weights by this seed instead of reading them; only config.json is needed");
}

void add_dtype(CLI::App &command, model_source &source, const std::string &help) {
    command.add_option("--dtype", source.dtype, help);
}

void add_encode_options(CLI::App &command, encode_options &options) {
    not_empty(command.add_option("MODEL", options.model.directory, "Model directory")->required());
    not_empty(command.add_option("--text", options.text, "Text file, a text in each line; - for stdin")->required());
    not_empty(command.add_option("--output", options.output, "File to write, - for stdout")->capture_default_str());
    command
        .add_option("--max-tokens", options.max_tokens,
                    "Cut what is longer to this number of tokens; default: the model's limit")
        ->check(CLI::Range(3, 1 << 30));
    at_least(1, command.add_option(
                    "--batch-tokens", options.batch_tokens,
                    "Tokens of one run, padding included; default: 4096. Changes the speed, never the result"));
    command.add_option("--threads", options.threads, "Threads; default: all this process may use");
    add_dtype(command, options.model);
}

ss1_scheme parse_scheme(const std::string &name) {
    if (name == "reference") return SS1_SCHEME_REFERENCE;
    if (name == "mixed") return SS1_SCHEME_MIXED;
    throw failure("--scheme: '" + name + "' is neither reference nor mixed");
}

}  // namespace ss1::cli
