// SPDX-License-Identifier: Apache-2.0
// ss1 run: scores the rows of a CSV file or the lines of a text, batch by batch.
#include <charconv>
#include <chrono>
#include <CLI/CLI.hpp>
#include <cmath>
#include <optional>

#include "apps/bert_rows.hpp"
#include "apps/csv.hpp"
#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "apps/line_batches.hpp"
#include "apps/model_rows.hpp"
#include "apps/notes.hpp"
#include "apps/output.hpp"
#include "apps/row_family.hpp"
#include "apps/text_answers.hpp"
#include "apps/text_rows.hpp"
#include "cli/commands.hpp"
#include "cli/label_scores.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct run_options {
    model_source model;
    std::string input, text, output = "-", label, summary;
    bool pairs = false;
    size_t batch = 0, max_tokens = 0;
    uint32_t threads = 0;
};

// The labels of --label, a batch at a time: from a column of the CSV file, or from a file with a line for each text.
struct label_reader {
    label_scores scores;
    std::vector<size_t> batch;
    size_t column = 0;

    void add(const csv_reader &reader) { batch.push_back(scores.number(reader, column)); }

    void add(text_lines &lines) {
        const std::string where = lines.input().name() + ":" + std::to_string(lines.input().line());
        if (!lines.next())
            throw failure(where + ": the file of --label ends before the texts", "it has a line for each text");
        const std::optional<size_t> label = scores.parse(lines.first());
        if (!label) throw failure(where + ": '" + shown(lines.first()) + "' is not a label: " + scores.rule());
        batch.push_back(*label);
    }

    void score(std::span<const float> outputs, size_t before) {
        scores.add(outputs, batch, before);
        batch.clear();
    }
};

struct run_totals {
    size_t rows = 0;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    std::optional<label_reader> labels;

    double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }
    double rows_per_s() const { return static_cast<double>(rows) / std::max(seconds(), 1e-9); }
};

std::string header_line(const row_output &output) {
    if (output.width == 1 && output.name == "probability") return "probability\n";
    std::string line;
    for (size_t i = 0; i < output.width; ++i) line += (i ? "," : "") + output.name + '_' + std::to_string(i);
    return line + '\n';
}

void append_number(std::string &text, float value) {
    if (std::isnan(value)) value = std::fabs(value);  // its sign depends on the kernel
    char digits[32];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

void show_progress(progress &line, const byte_input &in, const run_totals &totals) {
    std::string text = format("%zu rows, %.0f rows/s", totals.rows, totals.rows_per_s());
    const double share =
        in.bytes_in_all() ? static_cast<double>(in.bytes_read()) / static_cast<double>(in.bytes_in_all()) : 0;
    if (share > 0) {
        constexpr size_t width = 30;
        std::string bar(width, '.');
        bar.replace(0, static_cast<size_t>(share * width), static_cast<size_t>(share * width), '#');
        text = format("[%s] %3.0f%%, %s, %.0f s left", bar.c_str(), 100 * share, text.c_str(),
                      totals.seconds() * (1 - share) / share);
    }
    line.show(text);
}

// Runs the batch and writes its outputs to `scores`, [rows, width] in the order of the file.
void run_batch(model_rows &rows, const session_handle &session, const row_output &output, std::vector<float> &scores) {
    scores.resize(rows.size() * output.width);
    std::vector<float> values;
    for (const model_run &run : rows.runs()) {
        values.resize(run.rows.size() * output.width);
        ss1_tensor tensor = output.tensor(values.data(), run.rows.size());
        check(ss1_session_run(session.get(), run.inputs.data(), run.inputs.size(), &tensor, 1));
        for (size_t i = 0; i < run.rows.size(); ++i)
            std::copy_n(values.begin() + i * output.width, output.width, scores.begin() + run.rows[i] * output.width);
    }
}

// A file may be named once: outputs must not overwrite the input or each other.
void check_file_names(const run_options &options) {
    const std::string &input = options.text.empty() ? options.input : options.text;
    refuse_same_file(options.output, "--output", input, "the input file");
    refuse_same_file(options.summary, "--summary", input, "the input file");
    refuse_same_file(options.summary, "--summary", options.output, "the file of --output");
    if (options.text.empty() || options.label.empty()) return;
    refuse_same_file(options.output, "--output", options.label, "the file of --label");
    refuse_same_file(options.summary, "--summary", options.label, "the file of --label");
    if (options.text == "-" && options.label == "-")
        throw failure("--text and --label cannot both be stdin", "give --label a file");
}

void write_rows(output &out, const std::vector<float> &scores, size_t width) {
    std::string text;
    for (size_t i = 0; i < scores.size(); ++i) {
        append_number(text, scores[i]);
        text += (i + 1) % width == 0 ? '\n' : ',';
    }
    out.write(text);
    out.flush();  // a user who gives rows one by one gets scores one by one
}

run_totals score(const run_options &options, const model_handle &model) {
    const row_family &family = family_of(model);
    const std::unique_ptr<model_rows> rows = family.make_rows(describe(model));
    csv_reader reader(options.input);
    rows->bind(reader);
    run_totals totals;
    if (!options.label.empty()) totals.labels = label_reader{label_scores(model), {}, reader.column(options.label)};
    const row_output result = choose_output(model);
    const size_t batch = options.batch ? options.batch : default_batch(model, rows->max_tokens());
    ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
    bounds.max_batch = batch;
    const session_handle session = make_session(model, bounds);
    output out(options.output);  // last, so that an error above does not touch an older file
    out.write(header_line(result));
    out.flush();

    progress line;
    std::vector<float> scores;
    line_batches batches;
    const auto next = [&] {
        if (!reader.next()) return false;
        if (totals.labels) totals.labels->add(reader);  // first: the batch must not get a row whose label is wrong
        rows->add(reader);
        return true;
    };
    while (batches.fill(batch, next, [&] { return reader.ready(); })) {
        run_batch(*rows, session, result, scores);
        write_rows(out, scores, result.width);
        if (totals.labels) totals.labels->score(scores, totals.rows);
        totals.rows += rows->size();
        rows->clear();
        if (line.due()) show_progress(line, reader.input(), totals);
    }
    out.close();
    return totals;
}

// Writes the answers to the `n` lines of the last run; `before` lines were run before it.
void write_answers(output &out, const text_answers &answers, const text_rows &texts, size_t n, const std::string &file,
                   size_t before) {
    for (size_t i = 0; i < n; ++i) {
        const json answer = answers.answer(i, texts.row(i));
        if (!is_finite(answer)) {
            out.flush();  // the lines before it have their answers
            throw failure(format("%s:%zu: the model gives numbers that are not finite", file.c_str(), before + i + 1),
                          "its weights are too large for this text: leave the line out, or mend the model");
        }
        out.write(to_line(answer));
    }
    out.flush();
}

// Writes a line of JSON for each line of text.
run_totals answer(const run_options &options, const context_handle &context, const model_handle &model) {
    text_rows texts(context, model, options.model.directory, options.max_tokens);
    text_answers answers(model, texts.tokenizer().get(), options.pairs);
    text_lines lines(options.text, answers.line_kind());
    ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
    bounds.max_tokens = texts.max_tokens();
    bounds.max_batch = options.batch ? options.batch : default_batch(model, bounds.max_tokens);
    const session_handle session = make_session(model, bounds);
    run_totals totals;
    std::optional<text_lines> labels;
    if (!options.label.empty()) {
        totals.labels = label_reader{label_scores(model), {}};
        labels.emplace(options.label, text_lines::kind::any_text);
    }
    output out(options.output);

    progress line;
    bert_rows rows(describe(model));
    while (texts.read(lines, bounds.max_batch, rows)) {
        const model_run &run = rows.runs().front();
        std::vector<ss1_tensor> outputs = answers.outputs(rows.size(), rows.longest());
        check(ss1_session_run(session.get(), run.inputs.data(), run.inputs.size(), outputs.data(), outputs.size()));
        for (size_t i = 0; labels && i < rows.size(); ++i) totals.labels->add(*labels);
        write_answers(out, answers, texts, rows.size(), lines.input().name(), totals.rows);
        const ss1_tensor &answer = outputs.front();
        if (labels)
            totals.labels->score({static_cast<const float *>(answer.data), answer.bytes / sizeof(float)}, totals.rows);
        totals.rows += rows.size();
        rows.clear();
        if (line.due()) show_progress(line, lines.input(), totals);
    }
    out.close();  // the answers stay, whatever the labels are
    if (labels && labels->next())
        throw failure(
            format("%s:%zu: the file of --label has more lines than texts", options.label.c_str(), totals.rows + 1),
            "it has a line for each text");
    return totals;
}

void report_totals(const run_options &options, const run_totals &totals) {
    const double rate = totals.rows_per_s();
    json summary = {{"n", totals.rows}};
    if (totals.labels) {
        note("%zu rows, %s, %.0f rows/s", totals.rows, totals.labels->scores.text().c_str(), rate);
        totals.labels->scores.add_to(summary);
    }
    summary["rows_per_s"] = rounded(rate, 1);
    if (options.summary.empty()) return;
    output file(options.summary);
    file.write(summary.dump(2) + '\n');
    file.close();
}

void run_model(const run_options &options) {
    if (options.input.empty() == options.text.empty())
        throw failure(
            options.input.empty() ? "one of --input and --text is needed" : "--input and --text exclude each other",
            "'ss1 run --help' has examples of both");
    if (options.text.empty() && (options.pairs || options.max_tokens))
        throw failure("--pairs and --max-tokens need --text", "leave them out");
    check_file_names(options);
    const context_handle context = make_context(options.threads);
    const model_handle model = load_model(context, options.model.directory, options.model.options());
    if (!options.text.empty() && !family_of(model).has_tokens)
        throw failure("--text needs a BERT; this model is a " + std::string(describe(model).family),
                      "give its rows with --input");
    report_totals(options, options.text.empty() ? score(options, model) : answer(options, context, model));
}

constexpr char notes[] =
    R"(DLRM reads a column for each dense feature and each table of config.json; a bag of several indices is 3|17|4, an
empty field is an empty bag. BERT reads the column input_ids and, if the file has it, token_type_ids: numbers with blanks
between them.
--text gives, by the purpose of the model:
  texts      {"label": ..., "score": ...}; a model of several labels at once gives all scores
  words      {"words": [{"word": ..., "begin": ..., "end": ..., "label": ..., "score": ...}, ...]}: begin and end are
             the word's bytes in the line, label and score belong to its first token
  answers    {"answer": ..., "begin": ..., "end": ..., "score": ...} for a line of question, tab, context: the
             likeliest part of the context, at most 15 tokens extended to whole words; begin and end are its bytes there
  [MASK]     {"masks": [...]}: the likeliest tokens for each
  no head    {"pooled": [...]}
Tokens beyond the model's limit or --max-tokens are cut off: their words are left out, and answers are not searched there.
The line of such a text ends with "cut": true.
--label keeps every score of a DLRM until the end (8 bytes each); otherwise memory does not grow. F1 is that of label 1
or, with more than two labels, the mean over the labels.
Examples:
  zcat rows.csv.gz | ss1 run model --input - --label clicked > scores.csv
  echo 'You have won a prize' | ss1 run bert --text -
  ss1 run bert --text mails.txt --label mails.labels --output answers.jsonl
  printf 'Who wrote it?\tAda wrote it.\n' | ss1 run bert-squad --text -)";

}  // namespace

void add_run(CLI::App &app) {
    const auto options = std::make_shared<run_options>();
    CLI::App &command = *app.add_subcommand("run", "Score the rows of a CSV file or the lines of a text");
    command.add_option("MODEL", options->model.directory, "Model directory")->required();
    not_empty(command.add_option("--input", options->input, "CSV file with a header line, - for stdin"));
    not_empty(command.add_option("--text", options->text,
                                 "BERT: text file; each line is a text and gets a line of JSON; - for stdin"));
    command.add_flag(
        "--pairs", options->pairs,
        "With --text: each line is two texts with a tab between them; implied for models that answer questions");
    command
        .add_option("--max-tokens", options->max_tokens,
                    "With --text: cut longer texts to this number of tokens; default: the model's limit")
        ->check(CLI::Range(3, 1 << 30));
    not_empty(command.add_option("--output", options->output, "File to write, - for stdout")->capture_default_str());
    at_least(1, command.add_option("--batch", options->batch,
                                   "Most rows of one run; default: 256 (BERT: 8, fewer if its limit is above 512 "
                                   "tokens). Changes the speed, never the result. A "
                                   "run does not wait for further rows of a pipe"));
    command.add_option("--threads", options->threads, "Threads; default: all this process may use");
    command.add_option(
        "--label", options->label,
        "Labels, to report what the scores are worth: a column of --input, or with --text a file with a "
        "label in each line. DLRM: 0 or 1; AUC and log loss. BERT: a label's name or number; accuracy and F1");
    not_empty(command.add_option("--summary", options->summary,
                                 "JSON file for n, rows_per_s and, with --label, auc and log_loss or accuracy and f1"));
    add_random_weights(command, options->model);
    add_dtype(command, options->model);
    command.footer(notes);
    command.callback([options] { run_model(*options); });
}

}  // namespace ss1::cli
