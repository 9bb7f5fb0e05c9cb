// SPDX-License-Identifier: Apache-2.0
#include "cli/quality.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <span>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/model_outputs.hpp"
#include "apps/problem_type.hpp"
#include "apps/row_family.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

// How the values of an output stand for probabilities.
enum class meaning {
    probability,   // a value is that of class 1 of 2
    logits,        // the last axis is a distribution
    logits_apart,  // a value is the logit of class 1 of 2
    positions,     // the tokens of a row are a distribution
    vector         // none
};

struct answer_form {
    std::vector<std::string> outputs;
    meaning means;
    bool of_tokens;
    size_t width;  // values of a row or token
};

answer_form form_of(const model_handle &model) {
    const std::vector<ss1_tensor> outputs = outputs_of(model);
    const auto find = [&](std::string_view name) {
        return std::ranges::find(outputs, name, [](const ss1_tensor &tensor) { return std::string_view(tensor.name); });
    };
    if (find("probability") != outputs.end()) return {{"probability"}, meaning::probability, false, 1};
    if (find("start_logits") != outputs.end()) return {{"end_logits", "start_logits"}, meaning::positions, true, 1};
    if (const auto logits = find("logits"); logits != outputs.end()) {
        const auto width = static_cast<size_t>(logits->shape[logits->rank - 1]);
        const problem_type problem = problem_of(model, width);
        const meaning means = logits->rank == 3 || problem == problem_type::one_label ? meaning::logits
                              : problem == problem_type::any_labels                   ? meaning::logits_apart
                                                                                      : meaning::vector;
        return {{"logits"}, means, logits->rank == 3, width};
    }
    const row_output whole = choose_output(model);
    return {{whole.name}, meaning::vector, false, whole.width};
}

// Logarithms of the probabilities of a distribution.
std::vector<double> log_softmax(std::span<const float> logits) {
    const double largest = *std::ranges::max_element(logits);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - largest);
    std::vector<double> result;
    for (const float logit : logits) result.push_back(logit - largest - std::log(sum));
    return result;
}

// The logit of a probability; 2^-24 away from 0 and 1, where f32 can no longer distinguish them.
float logit_of(float probability) {
    const double p = std::clamp<double>(probability, 0x1p-24, 1 - 0x1p-24);
    return static_cast<float>(std::log(p / (1 - p)));
}

// Sums over answers, for the means of a quality.
struct sums {
    double kl = 0, agreeing = 0, difference = 0, energy = 0;
    size_t answers = 0;

    void add_distribution(std::span<const float> before, std::span<const float> after) {
        const std::vector<double> p = log_softmax(before), q = log_softmax(after);
        for (size_t i = 0; i < p.size(); ++i) kl += std::exp(p[i]) * (p[i] - q[i]);
        agreeing += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
        ++answers;
    }
    void add_pair(float before, float after) { add_distribution(std::array{0.0f, before}, std::array{0.0f, after}); }
    void add_values(std::span<const float> before, std::span<const float> after) {
        for (size_t i = 0; i < before.size(); ++i) {
            const double a = before[i], b = after[i];
            if (!std::isfinite(a) || !std::isfinite(b))
                throw failure("the outputs of a held-out row are not finite: its numbers are too large for the model",
                              "leave the row out");
            difference += (a - b) * (a - b);
            energy += a * a;
        }
    }
};

// Adds the values of one row: [tokens, width] or [width].
void add_answer(const answer_form &form, std::span<const float> before, std::span<const float> after, sums &to) {
    to.add_values(before, after);
    switch (form.means) {
        case meaning::probability:
            return to.add_pair(logit_of(before[0]), logit_of(after[0]));
        case meaning::logits_apart:
            for (size_t i = 0; i < before.size(); ++i) to.add_pair(before[i], after[i]);
            return;
        case meaning::positions:
            return to.add_distribution(before, after);
        case meaning::logits:
            for (size_t i = 0; i < before.size(); i += form.width)
                to.add_distribution(before.subspan(i, form.width), after.subspan(i, form.width));
            return;
        case meaning::vector:
            return;
    }
}

// A model that runs: its time, and its scores beside labels.
struct contender {
    const model_handle &model;
    session_handle session;
    model_outputs outputs;
    double seconds = 0;
    std::optional<label_scores> scores;

    contender(const model_handle &of, const ss1_session_options &options, const answer_form &form,
              const std::optional<label_scores> &empty)
        : model(of), session(make_session(of, options)), outputs(of, form.outputs), scores(empty) {}

    // Returns the seconds that the run takes.
    double run(const model_run &what, size_t tokens) {
        std::vector<ss1_tensor> wanted = outputs.tensors(what.rows.size(), tokens);
        const auto start = std::chrono::steady_clock::now();
        check(ss1_session_run(session.get(), what.inputs.data(), what.inputs.size(), wanted.data(), wanted.size()));
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    label_measures result() const {
        return scores ? label_measures{scores->auc(), scores->log_loss(), scores->accuracy()} : label_measures();
    }
};

// The values of a row in an output of a run: without padding.
std::span<const float> values_of(const answer_form &form, const std::vector<float> &values, size_t row, size_t tokens,
                                 size_t own_tokens) {
    const size_t stride = form.of_tokens ? tokens * form.width : form.width;
    return std::span(values).subspan(row * stride, form.of_tokens ? own_tokens * form.width : form.width);
}

}  // namespace

held_out_rows::held_out_rows(const context_handle &context, const model_handle &original, std::string directory,
                             std::string path, const csv_options &csv, row_subset subset, std::string label)
    : context_(context),
      original_(original),
      directory_(std::move(directory)),
      path_(std::move(path)),
      csv_(csv),
      subset_(subset) {
    if (!label.empty()) {
        scores_.emplace(original);
        label_ = label_source{std::move(label), [scores = *scores_](const csv_reader &reader, size_t column) {
                                  return scores.number(reader, column);
                              }};
    }
    row_source(context_, original_, directory_, path_, csv_, subset_, label_);
}

bool held_out_rows::has_probabilities() const {
    return form_of(original_).means != meaning::vector;
}

bool held_out_rows::has_auc() const {
    return label_ && gives_probability(original_);
}

quality held_out_rows::compare(const model_handle &converted, size_t repeats,
                               const std::function<void(size_t)> &each) const {
    row_source source(context_, original_, directory_, path_, csv_, subset_, label_);
    const answer_form form = form_of(original_);
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_tokens = source.max_tokens();
    options.max_batch = default_batch(original_, options.max_tokens);
    contender before(original_, options, form, scores_), after(converted, options, form, scores_);
    sums all;
    quality result;
    while (source.read(options.max_batch)) {
        const size_t tokens = longest(source.rows()), batch_begin = result.rows;
        for (const model_run &run : source.rows().runs()) {
            double least_before = 0, least_after = 0;
            for (size_t i = 0; i < repeats; ++i) {
                const double of_before = before.run(run, tokens), of_after = after.run(run, tokens);
                least_before = i ? std::min(least_before, of_before) : of_before;
                least_after = i ? std::min(least_after, of_after) : of_after;
            }
            before.seconds += least_before;
            after.seconds += least_after;
            for (size_t i = 0; i < run.rows.size(); ++i) {
                const size_t row = run.rows[i], own = source.rows().tokens(row);
                for (size_t k = 0; k < form.outputs.size(); ++k)
                    add_answer(form, values_of(form, before.outputs.values(k), i, tokens, own),
                               values_of(form, after.outputs.values(k), i, tokens, own), all);
                if (label_)
                    for (contender *const model : {&before, &after})
                        model->scores->add(values_of(form, model->outputs.values(0), i, tokens, own),
                                           {&source.labels()[row], 1}, batch_begin + row);
            }
            result.rows += run.rows.size();
        }
        each(result.rows);
    }
    result.left_out = source.left_out();
    if (result.rows == 0)
        throw failure(path_ + ": no rows to hold out" +
                          (result.left_out ? format("; --missing skip left out %zu", result.left_out) : ""),
                      "give at least as many rows as are held out at a time");
    result.has_probabilities = has_probabilities();
    result.answers = all.answers;
    if (all.answers) {
        result.kl = std::max(all.kl / static_cast<double>(all.answers), 0.0);
        result.agreement = all.agreeing / static_cast<double>(all.answers);
    }
    result.error = all.energy > 0 ? all.difference / all.energy : 0;
    result.before = before.result();
    result.after = after.result();
    result.seconds_before = before.seconds;
    result.seconds_after = after.seconds;
    return result;
}

}  // namespace ss1::cli
