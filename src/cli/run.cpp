// SPDX-License-Identifier: Apache-2.0
// ss1 run: scores the rows of a CSV file or the lines of a text, batch by batch.
#include <algorithm>
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
#include "cli/ranges.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct run_options {
    model_source model;
    std::string input, text, output = "-", label, summary;
    std::vector<std::string> keep;
    csv_source csv;
    bool pairs = false, logits = false;
    size_t batch = 0, max_tokens = 0;
    uint32_t threads = 0;
};

// The labels of --label, a batch at a time: from a column of the CSV file, or from a file with a line for each text.
struct label_reader {
    label_scores scores;
    std::vector<size_t> batch;
    size_t column = 0;

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
    std::optional<size_t> left_out = {};  // by --missing skip
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    std::optional<label_reader> labels;

    double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }
    double rows_per_s() const { return static_cast<double>(rows) / std::max(seconds(), 1e-9); }
};

// The columns of --keep: for each row of a batch, the text that stands before its scores.
struct kept_columns {
    std::vector<size_t> columns;
    std::string header;
    std::vector<std::string> texts;

    void add(const csv_reader &reader) {
        std::string &text = texts.emplace_back();
        for (const size_t column : columns) text += csv_quote(reader.field(column)) + ',';
    }
};

// An output that a run asks for, and its values for a batch in the order of the file, [rows, width].
struct asked_output {
    row_output output;
    std::vector<std::string> names;  // of its columns
    std::vector<float> values = {};
};

std::vector<asked_output> asked_outputs(const run_options &options, const model_handle &model) {
    std::vector<asked_output> asked;
    const row_output first = asked.emplace_back(asked_output{choose_output(model), {}}).output;
    const bool is_probability = first.width == 1 && first.name == "probability";
    if (options.logits && !is_probability)
        throw failure("--logits is for a DLRM, whose scores are probabilities; this model gives " + first.name,
                      "leave --logits out");
    if (is_probability) asked[0].names = {first.name};
    for (size_t i = 0; i < first.width && !is_probability; ++i)
        asked[0].names.push_back(first.name + '_' + std::to_string(i));
    if (options.logits) asked.push_back({{"logits", 1}, {"logit"}});
    return asked;
}

kept_columns find_kept(const run_options &options, const csv_reader &reader, const std::vector<asked_output> &outputs) {
    kept_columns kept;
    for (const std::string &list : options.keep) {
        // A name may have a comma.
        const std::vector<std::string> names = reader.find(list) ? std::vector{list} : parse_names("--keep", list);
        for (const std::string &name : names) {
            const std::optional<size_t> column = reader.find(name);
            if (!column)
                throw failure("--keep " + shown(name) + ": " + reader.input().name() + " has no such column",
                              "name columns of the header line, with commas between them");
            if (std::ranges::count(kept.columns, *column))
                throw failure("--keep " + shown(name) + ": the column is named twice", "name it once");
            for (const asked_output &asked : outputs)
                if (std::ranges::count(asked.names, reader.name(*column)))
                    throw failure("--keep " + shown(name) + ": the output has scores of this name",
                                  "rename the column in the header line");
            kept.columns.push_back(*column);
            kept.header += csv_quote(reader.name(*column)) + ',';
        }
    }
    return kept;
}

std::string header_line(const kept_columns &kept, const std::vector<asked_output> &outputs) {
    std::string line = kept.header;
    for (const asked_output &asked : outputs)
        for (const std::string &name : asked.names) line += name + ',';
    line.back() = '\n';
    return line;
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

// Runs the batch and sets the values of the outputs.
void run_batch(model_rows &rows, const session_handle &session, std::vector<asked_output> &outputs) {
    for (asked_output &asked : outputs) asked.values.resize(rows.size() * asked.output.width);
    std::vector<std::vector<float>> values(outputs.size());
    std::vector<ss1_tensor> tensors(outputs.size());
    for (const model_run &run : rows.runs()) {
        for (size_t k = 0; k < outputs.size(); ++k) {
            values[k].resize(run.rows.size() * outputs[k].output.width);
            tensors[k] = outputs[k].output.tensor(values[k].data(), run.rows.size());
        }
        check(ss1_session_run(session.get(), run.inputs.data(), run.inputs.size(), tensors.data(), tensors.size()));
        for (size_t k = 0; k < outputs.size(); ++k) {
            const size_t width = outputs[k].output.width;
            for (size_t i = 0; i < run.rows.size(); ++i)
                std::copy_n(values[k].begin() + i * width, width, outputs[k].values.begin() + run.rows[i] * width);
        }
    }
}

// A file may be named once: outputs must not overwrite the input or each other.
void check_file_names(const run_options &options) {
    const std::string &input = options.text.empty() ? options.input : options.text;
    protect_sources(options.output, "--output", input, options.model.directory);
    protect_sources(options.summary, "--summary", input, options.model.directory);
    refuse_same_file(options.summary, "--summary", options.output, "the file of --output");
    if (options.text.empty() || options.label.empty()) return;
    refuse_same_file(options.output, "--output", options.label, "the file of --label");
    refuse_same_file(options.summary, "--summary", options.label, "the file of --label");
    if (options.text == "-" && options.label == "-")
        throw failure("--text and --label cannot both be stdin", "give --label a file");
}

void write_rows(output &out, const kept_columns &kept, const std::vector<asked_output> &outputs, size_t rows) {
    std::string text;
    for (size_t i = 0; i < rows; ++i) {
        text += kept.texts[i];
        for (const asked_output &asked : outputs)
            for (size_t k = 0; k < asked.output.width; ++k) {
                append_number(text, asked.values[i * asked.output.width + k]);
                text += ',';
            }
        text.back() = '\n';
    }
    out.write(text);
    out.flush();  // a user who gives rows one by one gets scores one by one
}

run_totals score(const run_options &options, const model_handle &model) {
    const row_family &family = family_of(model);
    const std::unique_ptr<model_rows> rows = family.make_rows(describe(model));
    csv_reader reader(options.input, options.csv.options());
    rows->bind(reader, options.model.directory);
    run_totals totals;
    if (reader.options().missing == missing_value::skip) totals.left_out = 0;
    if (!options.label.empty()) totals.labels = label_reader{label_scores(model), {}, reader.column(options.label)};
    std::vector<asked_output> outputs = asked_outputs(options, model);
    kept_columns kept = find_kept(options, reader, outputs);
    const size_t batch = options.batch ? options.batch : default_batch(model, rows->max_tokens());
    ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
    bounds.max_batch = batch;
    const session_handle session = make_session(model, bounds);
    output out(options.output);  // last, so that an error above does not touch an older file
    out.write(header_line(kept, outputs));
    out.flush();

    progress line;
    line_batches batches;
    const auto next = [&] {
        if (!reader.next()) return false;
        // First: the batch must not get a row whose label is wrong, nor the label of a row that it does not get.
        const size_t label = totals.labels ? totals.labels->scores.number(reader, totals.labels->column) : 0;
        if (!rows->add(reader)) {
            ++*totals.left_out;
            return true;
        }
        if (totals.labels) totals.labels->batch.push_back(label);
        kept.add(reader);
        return true;
    };
    while (batches.fill(batch, next, [&] { return reader.ready(); })) {
        if (rows->size() == 0) continue;  // all were left out
        run_batch(*rows, session, outputs);
        write_rows(out, kept, outputs, rows->size());
        if (totals.labels) totals.labels->score(outputs.front().values, totals.rows);
        totals.rows += rows->size();
        rows->clear();
        kept.texts.clear();
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
    if (answers.embeds())  // prompts belong to them
        throw failure(options.model.directory + ": gives sentence embeddings alone", "use ss1 embed");
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
    std::string text = format("%zu rows", totals.rows);
    if (totals.left_out) {
        text += format(", %zu left out by --missing skip", *totals.left_out);
        summary["left_out"] = *totals.left_out;
    }
    if (totals.labels) {
        text += ", " + totals.labels->scores.text();
        totals.labels->scores.add_to(summary);
    }
    if (totals.left_out || totals.labels) note("%s, %.0f rows/s", text.c_str(), rate);
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
    if (!options.text.empty() && (options.csv.is_given() || !options.keep.empty() || options.logits))
        throw failure("--delimiter, --missing, --keep and --logits need --input", "leave them out");
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
empty field is an empty bag. A table with a vocabulary or a hash in config.json takes ids in place of indices. BERT
reads the column input_ids and, if the file has it, token_type_ids: numbers with blanks between them.
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
  ss1 run model --input rows.tsv --delimiter tab --missing mean --keep user,day --logits
  echo 'You have won a prize' | ss1 run bert --text -
  ss1 run bert --text mails.txt --label mails.labels --output answers.jsonl
  printf 'Who wrote it?\tAda wrote it.\n' | ss1 run bert-squad --text -)";

}  // namespace

void add_run(CLI::App &app) {
    const auto options = std::make_shared<run_options>();
    CLI::App &command = *app.add_subcommand("run", "Score the rows of a CSV file or the lines of a text");
    command.add_option("MODEL", options->model.directory, "Model directory")->required();
    not_empty(command.add_option("--input", options->input, "CSV file with a header line, - for stdin"));
    add_csv_options(command, options->csv, "--input");
    not_empty(command
                  .add_option("--keep", options->keep,
                              "Columns of --input, with commas between them, that the output has before the scores; "
                              "may be given several times")
                  ->allow_extra_args(false),
              "column");
    command.add_flag("--logits", options->logits, "DLRM: also write the column logit, the score before the sigmoid");
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
                                 "JSON file for n, rows_per_s, with --missing skip left_out and, with --label, auc and "
                                 "log_loss or accuracy and f1"));
    add_random_weights(command, options->model);
    add_dtype(command, options->model);
    command.footer(notes);
    command.callback([options] { run_model(*options); });
}

}  // namespace ss1::cli
