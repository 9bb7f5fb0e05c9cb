// SPDX-License-Identifier: Apache-2.0
// ss1 rerank: the lines of a text by their relevance to a query, with a CrossEncoder.
#include <algorithm>
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "apps/encoder.hpp"
#include "apps/failure.hpp"
#include "apps/json.hpp"
#include "apps/output.hpp"
#include "apps/text_lines.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct rerank_options {
    model_source model;
    std::string query, text, output = "-";
    size_t top = 0, max_tokens = 0, batch_tokens = 0;
    uint32_t threads = 0;
};

std::vector<std::string> read_texts(const std::string &path) {
    text_lines lines(path, text_lines::kind::any_text);
    std::vector<std::string> texts;
    while (lines.next()) texts.push_back(lines.first());
    return texts;
}

void rerank(const rerank_options &options) {
    refuse_same_file(options.output, "--output", options.text, "the input file");
    const context_handle context = make_context(options.threads);
    const encoder model(context, options.model.directory, options.model.options());
    const ss1_model_info info = describe(model.model());
    if (!info.score_activation || info.n_labels != 1)
        throw failure(options.model.directory + ": is no reranker: it has no single score for a pair of texts",
                      "use a CrossEncoder: a model for sequence classification with one label");
    const std::vector<std::string> texts = read_texts(options.text);
    const std::vector<std::string> queries(texts.size(), options.query);
    encode_settings settings;
    settings.max_tokens = options.max_tokens;
    settings.batch_tokens = options.batch_tokens;
    const auto [logits, scores] = model.judge(queries, texts, settings);
    for (size_t i = 0; i < logits.size(); ++i)
        if (!std::isfinite(logits[i]))
            throw failure(options.text + ":" + std::to_string(i + 1) + ": the model gives a score that is not finite",
                          "its weights are too large for this text: leave the line out, or mend the model");
    std::vector<size_t> order(texts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater(), [&, &by = logits](size_t i) { return by[i]; });
    if (options.top) order.resize(std::min(order.size(), options.top));
    output out(options.output);
    for (const size_t i : order)
        out.write(to_line(
            {{"index", i}, {"score", six_digits(scores[i])}, {"logit", six_digits(logits[i])}, {"text", texts[i]}}));
    out.close();
    std::fprintf(stderr, "%zu texts, score = %s(logit)\n", texts.size(), info.score_activation);
}

constexpr char notes[] =
    R"(Writes {"index": ..., "score": ..., "logit": ..., "text": ...} for each line, the best first; index is its number from 0.
The score is the logit under the activation that config.json names for CrossEncoders of sentence-transformers, else its
sigmoid.
Example:
  ss1 rerank ms-marco-minilm --query 'How do I unpack a tar file?' --text docs.txt --top 10)";

}  // namespace

void add_rerank(CLI::App &app) {
    const auto options = std::make_shared<rerank_options>();
    CLI::App &command = *app.add_subcommand("rerank", "Sort the lines of a text by their relevance to a query");
    not_empty(command.add_option("MODEL", options->model.directory, "Model directory")->required());
    command.add_option("--query", options->query, "The query")->required();
    not_empty(command.add_option("--text", options->text, "Text file, a text in each line; - for stdin")->required());
    at_least(1, command.add_option("--top", options->top, "Write the best lines alone; default: all"));
    not_empty(command.add_option("--output", options->output, "File to write, - for stdout")->capture_default_str());
    command
        .add_option("--max-tokens", options->max_tokens,
                    "Cut longer pairs to this number of tokens; default: the model's limit")
        ->check(CLI::Range(3, 1 << 30));
    at_least(1, command.add_option(
                    "--batch-tokens", options->batch_tokens,
                    "Tokens of one run, padding included; default: 4096. Changes the speed, never the result"));
    command.add_option("--threads", options->threads, "Threads; default: all this process may use");
    add_dtype(command, options->model);
    command.footer(notes);
    command.callback([options] { rerank(*options); });
}

}  // namespace ss1::cli
