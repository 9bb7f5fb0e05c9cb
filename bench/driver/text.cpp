// SPDX-License-Identifier: Apache-2.0
// ss1-bench text: measures tokenizers on the lines of a text file, in MB/s. bench/tokenizers_peer.js measures Hugging
// Face's on the same texts.
#include <algorithm>
#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "apps/text_lines.hpp"
#include "cli/progress.hpp"
#include "cli/ranges.hpp"
#include "driver/commands.hpp"
#include "driver/placement.hpp"
#include "driver/report.hpp"
#include "driver/sampler.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

struct bench_options {
    std::vector<std::string> directories;
    std::string text, threads = "1", format = "md";
    size_t bytes = 10'000;
    bool offsets = false;
    sampling rule{10, 1, 0, 0, 0, 60};
};

// Lines of the file, joined by line ends until they have `bytes`.
std::vector<std::string> read_texts(const std::string &path, size_t bytes) {
    std::vector<std::string> texts(1);
    for (text_lines lines(path, text_lines::kind::any_text); lines.next();) {
        if (texts.back().size() >= bytes) texts.emplace_back();
        if (!texts.back().empty()) texts.back() += '\n';
        texts.back() += lines.first();
    }
    if (texts.back().empty()) throw failure(path + ": has no text", "name a file with lines of text");
    return texts;
}

// All texts through one tokenizer, a few at a time so that the ids stay in the cache.
class text_bench {
  public:
    text_bench(const context_handle &context, const std::string &directory, const std::vector<std::string> &texts,
               size_t threads, bool offsets)
        : tokenizer_(load_tokenizer(context, directory)), rows_(threads) {
        for (const std::string &text : texts) {
            texts_.push_back({sizeof(ss1_text), text.data(), text.size()});
            most_ = std::max(most_, text.size() + 16);
            bytes_ += static_cast<double>(text.size());
        }
        ids_.resize(rows_ * most_);
        if (offsets) begins_.resize(ids_.size()), ends_.resize(ids_.size());
        lengths_.resize(rows_);
    }

    void run() {
        tokens_ = 0;
        for (size_t i = 0; i < texts_.size(); i += rows_) {
            ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
            args.n = std::min(rows_, texts_.size() - i);
            args.first = &texts_[i];
            args.max_tokens = most_;
            args.input_ids = ids_.data();
            if (!begins_.empty()) args.begins = begins_.data(), args.ends = ends_.data();
            args.lengths = lengths_.data();
            check(ss1_tokenizer_encode(tokenizer_.get(), &args));
            for (size_t k = 0; k < args.n; ++k) tokens_ += lengths_[k];
        }
    }

    double bytes() const { return bytes_; }
    size_t tokens() const { return tokens_; }

  private:
    tokenizer_handle tokenizer_;
    size_t rows_, most_ = 0, tokens_ = 0;
    double bytes_ = 0;
    std::vector<ss1_text> texts_;
    std::vector<int64_t> ids_, begins_, ends_;
    std::vector<size_t> lengths_;
};

const std::vector<column> columns = {{"tokenizer", "tokenizer", 1, 0, 24},
                                     {"threads", "threads"},
                                     {"megabytes", "MB", 1, 1},
                                     {"tokens", "tokens", 1, 0, 9},
                                     {"megabytes_per_second", "MB/s", 1, 1, 7},
                                     {"p10", "p10", 1, 1, 7},
                                     {"p90", "p90", 1, 1, 7}};

void run_bench(const bench_options &options) {
    const std::vector<std::string> texts = read_texts(options.text, options.bytes);
    restart_with_pool_settings();
    report table(options.format, columns, machine_info(context_info(make_context())));
    progress line;
    for (const size_t threads : parse_ranges("--threads", options.threads, 4096)) {
        const context_handle context = make_context(static_cast<uint32_t>(threads));
        std::vector<std::unique_ptr<text_bench>> benches;
        std::vector<std::function<void()>> calls;
        for (const std::string &directory : options.directories) {
            line.show("loading " + directory);
            benches.push_back(std::make_unique<text_bench>(context, directory, texts, threads, options.offsets));
            calls.push_back([bench = benches.back().get()] { bench->run(); });
        }
        line.show(format("%zu texts, %zu threads", texts.size(), threads));
        const pinned one_core(threads);
        const std::vector<timing> timings = interleave(calls, options.rule);
        line.clear();
        for (size_t i = 0; i < benches.size(); ++i) {
            const std::vector<double> ns = sorted(timings[i].ns);
            const auto rate = [&](double fraction) {
                return rounded(1e3 * benches[i]->bytes() / percentile(ns, fraction), 2);
            };
            table.add({{"tokenizer", options.directories[i]},
                       {"threads", threads},
                       {"texts", texts.size()},
                       {"offsets", options.offsets},
                       {"megabytes", rounded(benches[i]->bytes() / 1e6, 3)},
                       {"tokens", benches[i]->tokens()},
                       {"megabytes_per_second", rate(0.5)},
                       {"p10", rate(0.9)},
                       {"p90", rate(0.1)},
                       {"rounds", ns.size()}});
        }
    }
    table.finish();
}

}  // namespace

void add_text(CLI::App &app) {
    const auto options = std::make_shared<bench_options>();
    bench_options &o = *options;
    CLI::App &command = *app.add_subcommand("text", "Measure tokenizers on lines of text");
    command.add_option("directories", o.directories, "Directories with a tokenizer")->required();
    command.add_option("--text", o.text, "File with lines of text")->required();
    command.add_option("--bytes", o.bytes, "Least bytes of a text, which several lines make")
        ->capture_default_str()
        ->check(CLI::Range(size_t{1}, size_t{1} << 30));
    command.add_option("--threads", o.threads, "Threads, e.g. 1,2")->capture_default_str();
    command.add_flag("--offsets", o.offsets, "Make offsets, too");
    add_sampling(command, o.rule, "samples of each tokenizer", "all tokenizers");
    add_most_time(command, o.rule);
    add_output_format(command, o.format);
    command.footer(
        "A sample is the whole file. All tokenizers take turns. One thread stays on one core.\n"
        "Example: ss1-bench text examples/models/spam-bert-dense --text mails.txt --threads 1,2");
    command.callback([options] { run_bench(*options); });
}

}  // namespace ss1::bench
