// SPDX-License-Identifier: Apache-2.0
#include "cli/choice_report.hpp"

#include <algorithm>
#include <cmath>

#include "apps/format.hpp"
#include "apps/json.hpp"
#include "cli/scatter.hpp"
#include "cli/table.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

const trial &best_of(const choice &what) {
    return what.trials[what.best];
}

// The error of a group's layers as they were fitted, 0 if they keep their form. Layers with one V have one error; where
// they have several, or change their type alone, it is that of the candidate.
double fitted_error(const choice &what, size_t g) {
    const trial &best = best_of(what);
    const layer_group &group = what.groups[g];
    if (best.chosen[g] == 0) return 0;
    const auto error_of = [&](const std::string &layer) {
        const auto found = best.errors.find(layer);
        return found == best.errors.end() ? 0.0 : found->second;
    };
    const double first = error_of(group.layers[0]);
    const bool is_one = std::ranges::all_of(group.layers, [&](const auto &layer) { return error_of(layer) == first; });
    return is_one && first > 0 ? first : group.candidates[best.chosen[g]].error;
}

// Why the group keeps its form; "": it has a new one.
std::string reason_of(const choice &what, size_t g) {
    const layer_group &group = what.groups[g];
    if (best_of(what).chosen[g]) return "";
    if (!group.reason.empty()) return group.reason;
    const candidate *fastest = nullptr;
    for (size_t i = 1; i < group.candidates.size(); ++i)
        if (!fastest || group.candidates[i].us < fastest->us) fastest = &group.candidates[i];
    if (!fastest || !std::isfinite(fastest->us)) return "has no other form";
    const double share = fastest->us / group.candidates[0].us;
    if (share >= 1)
        return format("no form is faster: %s takes %.2f of its time", form_name(fastest->desc).c_str(), share);
    return best_of(what).budget >= 1 ? "the budget allows it" : "other layers lose less for the time";
}

std::string text_of(const std::optional<double> &value) {
    return value ? format("%.5f", *value) : "undefined";
}

std::string quality_text(const quality &q) {
    std::string text = format("%zu held-out rows", q.rows);
    if (q.left_out) text += format(" (%zu left out by --missing skip)", q.left_out);
    text += ": ";
    if (q.has_probabilities)
        text += format("%.2f %% of %zu answers agree, KL %.3g, ", 100 * q.agreement, q.answers, q.kl);
    text += format("outputs lose %.2g %% of their energy\n", 100 * q.error);
    if (q.before.auc || q.after.auc)
        text += "AUC " + text_of(q.before.auc) + " -> " + text_of(q.after.auc) + ", log loss " +
                text_of(q.before.log_loss) + " -> " + text_of(q.after.log_loss) + '\n';
    if (q.before.accuracy) text += "right " + text_of(q.before.accuracy) + " -> " + text_of(q.after.accuracy) + '\n';
    const auto ms = [&](double seconds) { return 1e3 * seconds / static_cast<double>(q.rows); };
    return text + format("whole model: %.4g -> %.4g ms a row (%.2f of the time)\n", ms(q.seconds_before),
                         ms(q.seconds_after), q.seconds_after / q.seconds_before);
}

json number(const std::optional<double> &value) {
    return value ? json(six_digits(*value)) : json(nullptr);
}

json labels_json(const label_measures &of) {
    return {{"auc", number(of.auc)}, {"log_loss", number(of.log_loss)}, {"accuracy", number(of.accuracy)}};
}

json quality_json(const quality &q) {
    json result = {{"rows", q.rows}, {"left_out", q.left_out}, {"answers", q.answers}};
    result["kl"] = q.has_probabilities ? json(six_digits(q.kl)) : json(nullptr);
    result["agreement"] = q.has_probabilities ? json(six_digits(q.agreement)) : json(nullptr);
    result["output_error"] = six_digits(q.error);
    result["before"] = labels_json(q.before);
    result["after"] = labels_json(q.after);
    result["ms_per_row_before"] = six_digits(1e3 * q.seconds_before / static_cast<double>(q.rows));
    result["ms_per_row_after"] = six_digits(1e3 * q.seconds_after / static_cast<double>(q.rows));
    return result;
}

json candidate_json(const candidate &c, bool is_chosen) {
    return {{"form", form_name(c.desc)},
            {"c", std::max<uint32_t>(c.desc.c, c.desc.rank ? 0 : 1)},
            {"rank", c.desc.rank},
            {"dtype", dtype_name(c.desc.weight_dtype ? c.desc.weight_dtype : SS1_DTYPE_F32)},
            {"error", six_digits(c.error)},
            {"us", std::isfinite(c.us) ? json(six_digits(c.us)) : json(nullptr)},
            {"chosen", is_chosen}};
}

json group_json(const choice &what, size_t g) {
    const layer_group &group = what.groups[g];
    const size_t chosen = best_of(what).chosen[g];
    json result = {{"layers", group.layers}, {"K", group.K}, {"N", group.N}};
    result["chosen"] = form_name(group.candidates[chosen].desc);
    result["error"] = six_digits(fitted_error(what, g));
    result["weight"] = six_digits(group.weight);
    result["us_before"] = six_digits(group.candidates[0].us);
    result["us_after"] = six_digits(group.candidates[chosen].us);
    if (const std::string reason = reason_of(what, g); !reason.empty()) result["reason"] = reason;
    result["candidates"] = json::array();
    for (size_t i = 0; i < group.candidates.size(); ++i)
        result["candidates"].push_back(candidate_json(group.candidates[i], i == chosen));
    return result;
}

json trial_json(const choice &what, const trial &of) {
    json result = {{"budget", six_digits(of.budget)},
                   {"share_of_time", six_digits(what.us_after(of) / what.us_before())}};
    result["quality"] = quality_json(of.measured);
    return result;
}

std::string us_text(const layer_group &group, const candidate &c) {
    return group.is_timed ? format("%.1f", c.us) : "-";
}

size_t series_of(const ss1_linear_desc &desc) {
    return desc.c > 1 ? (desc.rank ? 3 : 1) : desc.rank ? 2 : 0;
}

// Bytes that are not UTF-8 become U+FFFD.
std::string as_utf8(const std::string &text) {
    return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

}  // namespace

std::string report_text(const choice &what) {
    const trial &best = best_of(what);
    std::vector<table_row> rows = {{"layers", "K", "N", "form", "loss %", "us before", "us after", "why"}};
    for (size_t g = 0; g < what.groups.size(); ++g) {
        const layer_group &group = what.groups[g];
        const candidate &chosen = group.candidates[best.chosen[g]];
        const std::string why = reason_of(what, g);
        rows.push_back({group.name, std::to_string(group.K), std::to_string(group.N), form_name(chosen.desc),
                        format("%.3g", 100 * fitted_error(what, g)), us_text(group, group.candidates[0]),
                        us_text(group, chosen), why.empty() ? "" : "keeps its form: " + why});
    }
    const double before = what.us_before(), after = what.us_after(best);
    return format_table(rows) +
           format("\nlinear layers at %zu rows, %zu thread%s: %.1f -> %.1f us (%.3f of the time)\n", what.request.rows,
                  static_cast<size_t>(what.machine.num_threads), what.machine.num_threads == 1 ? "" : "s", before,
                  after, after / before) +
           quality_text(best.measured) +
           format("%s: written, with ss1-report.json and ss1-report.svg\n", what.request.output.c_str());
}

std::string report_json(const choice &what) {
    const trial &best = best_of(what);
    json report = {{"model", what.request.model}, {"calibrate", what.request.rows_file}};
    if (what.request.budget) report["budget"] = *what.request.budget;
    if (!what.request.goal.empty()) report["quality_goal"] = what.request.goal;
    report["sequential"] = what.request.sequential;
    report["effects"] = what.request.effects;
    report["timed_rows"] = what.request.rows;
    report["calibrated_rows"] = what.calibrated_rows;
    report["machine"] = machine_info(what.machine);
    report["us_before"] = six_digits(what.us_before());
    report["us_after"] = six_digits(what.us_after(best));
    report["share_of_time"] = six_digits(what.us_after(best) / what.us_before());
    report["quality"] = quality_json(best.measured);
    report["layers"] = json::array();
    for (size_t g = 0; g < what.groups.size(); ++g) report["layers"].push_back(group_json(what, g));
    report["trials"] = json::array();
    for (const trial &of : what.trials) report["trials"].push_back(trial_json(what, of));
    return report.dump(1, ' ', false, json::error_handler_t::replace) + '\n';
}

std::string report_svg(const choice &what) {
    scatter plot = {"Candidates of " + as_utf8(what.request.model),
                    format("time of the layers that read the same rows, us for %zu rows", what.request.rows),
                    "lost share of the outputs' energy",
                    {"dense", "tied (SS1)", "low rank", "both"},
                    "chosen",
                    {}};
    for (size_t g = 0; g < what.groups.size(); ++g) {
        const layer_group &group = what.groups[g];
        for (size_t i = 0; i < group.candidates.size(); ++i) {
            const candidate &c = group.candidates[i];
            if (!group.is_timed || !std::isfinite(c.us)) continue;
            plot.points.push_back(
                {c.us, c.error, series_of(c.desc), i == best_of(what).chosen[g],
                 format("%s: %s, %.3g us, error %.3g", group.name.c_str(), form_name(c.desc).c_str(), c.us, c.error)});
        }
    }
    return to_svg(plot);
}

}  // namespace ss1::cli
