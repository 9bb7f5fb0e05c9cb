// SPDX-License-Identifier: Apache-2.0
// ss1 rerank: the lines of a text by their relevance to a query, with a CrossEncoder.
#include <algorithm>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "apps/encoder.hpp"
#include "apps/failure.hpp"
#include "apps/json.hpp"
#include "apps/notes.hpp"
#include "apps/output.hpp"
#include "apps/text_lines.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct rerank_options : encode_options {
    std::string query;
    size_t top = 0;
};

std::vector<std::string> read_texts(const std::string &path) {
    text_lines lines(path, text_lines::kind::any_text);
    std::vector<std::string> texts;
    while (lines.next()) texts.push_back(lines.first());
    return texts;
}

void rerank(const rerank_options &options) {
    protect_sources(options.output, "--output", options.text, options.model.directory);
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
    refuse_not_finite(logits, 1, options.text, 0);
    std::vector<size_t> order(texts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater(), [&, &by = logits](size_t i) { return by[i]; });
    if (options.top) order.resize(std::min(order.size(), options.top));
    output out(options.output);
    for (const size_t i : order)
        out.write(to_line(
            {{"index", i}, {"score", six_digits(scores[i])}, {"logit", six_digits(logits[i])}, {"text", texts[i]}}));
    out.close();
    note("%zu texts, score = %s(logit)", texts.size(), info.score_activation);
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
    add_encode_options(command, *options);
    command.add_option("--query", options->query, "The query")->required();
    at_least(1, command.add_option("--top", options->top, "Write the best lines alone; default: all"));
    command.footer(notes);
    command.callback([options] { rerank(*options); });
}

}  // namespace ss1::cli
