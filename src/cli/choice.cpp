// SPDX-License-Identifier: Apache-2.0
#include "cli/choice.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <tuple>

#include "apps/csv.hpp"
#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/interruption.hpp"
#include "apps/notes.hpp"
#include "apps/output.hpp"
#include "cli/choice_report.hpp"
#include "cli/choose.hpp"
#include "cli/conversion.hpp"
#include "cli/progress.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

constexpr size_t held_out_every = 5;  // of the calibration rows

constexpr const char *report_names[] = {"/ss1-report.json", "/ss1-report.svg"};

struct interrupted {};

void write_file(const std::string &path, const std::string &text) {
    output out(path);
    out.write(text);
    out.close();
}

// What a converted model must reach on the held-out rows.
struct quality_goal {
    std::string measure;
    float limit = 0;

    double value(const quality &of) const {
        if (measure == "kl") return of.kl;
        return measure == "agree" ? of.agreement : *of.after.auc - *of.before.auc;
    }
    bool holds(const quality &of) const {
        const auto reached = static_cast<float>(value(of));  // as the limit: 99 of 100 answers are agree=0.99
        return measure == "kl" ? reached <= limit : reached >= limit;
    }
};

quality_goal parse_goal(const choice_request &request) {
    const size_t equals = request.goal.find('=');
    quality_goal goal = {request.goal.substr(0, equals)};
    if (goal.measure != "kl" && goal.measure != "agree" && goal.measure != "auc")
        throw failure("--quality: '" + goal.measure + "' is not a measure of quality",
                      "give kl=0.01, agree=0.99 or auc=-0.001");
    if (equals == std::string::npos || !parse_float(request.goal.substr(equals + 1), goal.limit))
        throw failure("--quality " + request.goal + ": the limit is not a number",
                      "give kl=0.01, agree=0.99 or auc=-0.001");
    if (goal.measure == "kl" && goal.limit <= 0)
        throw failure("--quality " + request.goal + ": a divergence of 0 or less is not reached", "give kl=0.01");
    if (goal.measure == "agree" && (goal.limit <= 0 || goal.limit > 1))
        throw failure("--quality " + request.goal + ": a share is in (0, 1]", "give agree=0.99");
    if (goal.measure == "auc" && goal.limit > 0)
        throw failure("--quality " + request.goal + ": this is the change of the AUC, at most 0", "give auc=-0.001");
    if (goal.measure == "auc" && request.label.empty())
        throw failure("--quality auc needs --label", "name the column of the right answers, or give kl=0.01");
    return goal;
}

// One search: the parts that live as long as it does.
class search {
  public:
    search(const choice_request &request, const std::optional<quality_goal> &goal, const interruption &signals)
        : request_(request),
          goal_(goal),
          signals_(signals),
          context_(make_context()),
          timed_context_(make_context(std::getenv("SS1_NUM_THREADS") ? 0 : 1)),
          work_(request.output),
          model_(load_model(timed_context_, request.model, request.load)),
          held_out_(timed_context_, model_, request.model, request.rows_file, request.csv, {held_out_every, true},
                    request.label),
          setting_{context_,         request.model,  request.load,
                   request.min_rows, signals.flag(), [this](const std::string &text) { show(text); }} {
        for (const char *name : report_names) {
            const std::string path = request.output + name;
            if (std::error_code ignored; std::filesystem::exists(path, ignored))
                throw failure(path + ": already exists", "write to another folder");
        }
        check_output(setting_, request.output);
        check_goal();
        result_.request = request;
        result_.machine = context_info(timed_context_);
    }

    void measure_candidates() {
        {
            const model_handle observed = load_model(context_, request_.model, request_.load);
            calibration_ = calibrate(context_, observed, rows_to_fit(), [this](size_t rows, const byte_input &) {
                show(format("calibrating: %zu rows", rows));
            });
        }
        if (calibration_.left_out) note("--missing skip left out %zu rows of the calibration", calibration_.left_out);
        result_.calibrated_rows = calibration_.rows;
        result_.settled = calibration_.settled;
        const candidate_rules rules = {request_.model, request_.load, request_.dtypes, request_.min_rows,
                                       context_info(context_).num_threads};
        result_.groups = list_candidates(timed_context_, model_, calibration_, rules, [this](size_t i, size_t n) {
            show(format("fitting candidates: layers %zu of %zu", i + 1, n));
        });
        time_candidates(timed_context_, request_.rows, result_.groups,
                        [this](size_t i, size_t n) { show(format("timing candidates: layers %zu of %zu", i + 1, n)); });
        if (request_.effects) weigh_groups();
        for (const layer_group &group : result_.groups) {
            std::vector<time_and_error> &points = points_.emplace_back();
            for (const candidate &c : group.candidates) points.push_back({c.us, group.weight * c.error});
        }
    }

    void find() { goal_ ? search_quality() : search_budget(*request_.budget); }

    const choice &result() const { return result_; }

    // Writes the best model.
    void write() {
        const trial &best = result_.trials[result_.best];
        line_.show("writing " + request_.output + " ...");
        const std::string model = written_.empty() || best_written_ != result_.best ? convert(best).first : written_;
        conversion_setting last = setting_;
        last.directory = model;
        last.load = SS1_MODEL_OPTIONS_INIT;
        convert_to(last, {}, nullptr, request_.output);
        line_.clear();
    }

  private:
    void search_budget(double budget) {
        if (const double least = least_us(points_) / result_.us_before(); least > budget)
            throw failure(format("--budget %g: the fastest forms of all layers take %.3f of the time", budget, least),
                          "give a larger budget, or further types with --dtype");
        result_.best = attempt(budget);
    }

    // Bisects over the budget for the fastest model that reaches the goal.
    void search_quality() {
        double fails = least_us(points_) / result_.us_before(), holds = 1;
        std::optional<size_t> best;
        const auto look = [&](double budget) {
            const size_t i = attempt(budget);
            const bool is_good = goal_->holds(checked(result_.trials[i].measured));
            if (is_good && (!best || result_.us_after(result_.trials[i]) < result_.us_after(result_.trials[*best])))
                best = i;
            return is_good;
        };
        constexpr int looks = 6;
        if (look(std::nextafter(fails, 2.0))) holds = fails;
        for (int i = 0; i < looks && holds > fails * 1.02; ++i) {
            const double middle = std::sqrt(fails * holds);
            (look(middle) ? holds : fails) = middle;
        }
        if (!best) refuse();
        result_.best = *best;
    }

    void show(const std::string &text) {
        if (__atomic_load_n(signals_.flag(), __ATOMIC_RELAXED)) throw interrupted();
        if (line_.due()) line_.show(text);
    }
    calibration_data rows_to_fit() const {
        return {request_.model, request_.rows_file, request_.csv, {held_out_every, false}, {}};
    }

    layer_forms forms_of(const std::vector<size_t> &chosen) const {
        layer_forms forms;
        for (size_t g = 0; g < chosen.size(); ++g)
            for (const std::string &layer : result_.groups[g].layers)
                if (chosen[g]) forms[layer] = result_.groups[g].candidates[chosen[g]].desc;
        return forms;
    }
    // Weighs each group by the root of what its error does to the answers: the divergence of the model in which this
    // group alone has another form, for its error. Few rows tell the divergence roughly, so that its root weighs less.
    void weigh_groups() {
        const held_out_rows rows(timed_context_, model_, request_.model, request_.rows_file, request_.csv,
                                 rows_to_fit().subset, "");
        double most = 0;
        std::vector<layer_group *> weighed;
        for (size_t g = 0; g < result_.groups.size(); ++g) {
            layer_group &group = result_.groups[g];
            const size_t tried = candidate_at(group, request_.budget.value_or(0.25));
            if (tried == 0) continue;
            std::vector<size_t> chosen(result_.groups.size());
            chosen[g] = tried;
            const std::string path = work_.next();
            convert_to(setting_, forms_of(chosen), calibration_.moments.get(), path);
            const model_handle converted = load_model(timed_context_, path, SS1_MODEL_OPTIONS_INIT);
            const quality found = rows.compare(converted, 1, [&](size_t n) {
                show(format("weighing layers %zu of %zu: %zu rows", g + 1, result_.groups.size(), n));
            });
            work_.drop(path);
            const double lost = found.has_probabilities ? found.kl : found.error;
            group.weight = std::sqrt(lost / group.candidates[tried].error);
            most = std::max(most, group.weight);
            weighed.push_back(&group);
        }
        for (layer_group *const group : weighed) group->weight = most > 0 ? std::max(group->weight / most, 1e-3) : 1;
    }
    // The candidate that takes nearest to this share of the time, with an error; 0: there is none.
    static size_t candidate_at(const layer_group &group, double share) {
        size_t nearest = 0;
        const auto distance = [&](size_t i) {
            return std::abs(std::log(group.candidates[i].us / group.candidates[0].us / share));
        };
        for (size_t i = 1; i < group.candidates.size(); ++i)
            if (std::isfinite(group.candidates[i].us) && group.candidates[i].error > 0 &&
                (nearest == 0 || distance(i) < distance(nearest)))
                nearest = i;
        return nearest;
    }
    // Returns the path of the new model and the errors of its layers.
    std::pair<std::string, std::map<std::string, double>> convert(const trial &what) {
        const std::string path = work_.next();
        const layer_forms forms = forms_of(what.chosen);
        return {path, request_.sequential
                          ? convert_in_sequence(setting_, forms, calibration_.groups, rows_to_fit(), work_, path)
                          : convert_to(setting_, forms, calibration_.moments.get(), path)};
    }
    // Chooses, converts and measures. @return the index of the trial.
    size_t attempt(double budget) {
        trial next = {budget, choose(points_, budget * result_.us_before()), {}, {}};
        show(format("converting for a budget of %.3f", budget));
        if (!written_.empty()) work_.drop(written_);
        std::tie(written_, next.errors) = convert(next);
        const model_handle converted = load_model(timed_context_, written_, SS1_MODEL_OPTIONS_INIT);
        next.measured = held_out_.compare(converted, 3, [&](size_t rows) {
            show(format("measuring for a budget of %.3f: %zu held-out rows", budget, rows));
        });
        result_.trials.push_back(std::move(next));
        best_written_ = result_.trials.size() - 1;
        return best_written_;
    }
    // Refuses to judge by a measure that the model does not have.
    void check_goal() const {
        if (goal_ && goal_->measure == "auc" && !held_out_.has_auc())
            throw failure("--quality auc: the model gives no probability of one of two labels",
                          "give kl=0.01 or agree=0.99");
        if (goal_ && !held_out_.has_probabilities())
            throw failure("--quality " + request_.goal + ": the model gives no probabilities",
                          "give --budget, and judge by the error of the outputs");
    }
    const quality &checked(const quality &of) const {
        if (goal_->measure == "auc" && (!of.before.auc || !of.after.auc))
            throw failure("--quality auc: the held-out rows have one label only", "give rows with both labels");
        return of;
    }
    [[noreturn]] void refuse() const {
        const quality_goal &goal = *goal_;
        const auto better = [&](const trial &a, const trial &b) {
            return goal.measure == "kl" ? goal.value(a.measured) < goal.value(b.measured)
                                        : goal.value(a.measured) > goal.value(b.measured);
        };
        const trial &best = *std::ranges::min_element(result_.trials, better);
        throw failure(
            format("--quality %s: none of %zu choices that were measured reaches it; the best is %s=%.3g at %.3f of "
                   "the linear layers' time",
                   request_.goal.c_str(), result_.trials.size(), goal.measure.c_str(), goal.value(best.measured),
                   result_.us_after(best) / result_.us_before()),
            "give a weaker goal, or more rows to calibrate with");
    }
    const choice_request &request_;
    const std::optional<quality_goal> goal_;
    const interruption &signals_;
    context_handle context_, timed_context_;
    workspace work_;
    model_handle model_;
    held_out_rows held_out_;
    conversion_setting setting_;
    progress line_;
    calibrated calibration_;
    std::vector<std::vector<time_and_error>> points_;
    choice result_;
    std::string written_;      // the model of the last trial
    size_t best_written_ = 0;  // its index
};

}  // namespace

double choice::us_before() const {
    double sum = 0;
    for (const layer_group &group : groups) sum += group.candidates[0].us;
    return sum;
}

double choice::us_after(const trial &of) const {
    double sum = 0;
    for (size_t g = 0; g < groups.size(); ++g) sum += groups[g].candidates[of.chosen[g]].us;
    return sum;
}

void convert_by_choice(const choice_request &request) {
    if (request.rows_file.empty())
        throw failure("--budget and --quality need --calibrate",
                      "give rows of real use: most fit, every fifth measures");
    if (request.rows_file == "-")
        throw failure("--calibrate - with --budget or --quality: the rows are read several times", "give a file");
    if (request.budget && !(*request.budget > 0 && *request.budget <= 1))
        throw failure(format("--budget %g is not in (0, 1]", *request.budget), "give a share of the time such as 0.25");
    const std::optional<quality_goal> goal = request.goal.empty() ? std::nullopt : std::optional(parse_goal(request));
    struct {
        std::string json, svg, text;
    } report;
    bool is_written = false;
    {
        const interruption signals;
        try {
            search run(request, goal, signals);
            run.measure_candidates();
            run.find();
            const choice &found = run.result();
            report = {report_json(found), report_svg(found), report_text(found)};
            run.write();
            is_written = true;
        } catch (const interrupted &) {
        } catch (const std::exception &) {
            signals.obey("interrupted: nothing written\n");  // a call that was cancelled fails
            throw;
        }
        signals.obey(is_written ? "interrupted when the model was written\n" : "interrupted: nothing written\n");
    }
    try {
        write_file(request.output + report_names[0], report.json);
        write_file(request.output + report_names[1], report.svg);
        write_file("-", report.text);
    } catch (const std::exception &error) {  // the model is complete: without a report, the command has succeeded
        std::fprintf(stderr, "ss1: %s is written, but not its whole report: %s\n", request.output.c_str(),
                     error.what());
    }
}

}  // namespace ss1::cli
