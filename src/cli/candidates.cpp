// SPDX-License-Identifier: Apache-2.0
#include "cli/candidates.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <tuple>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/row_family.hpp"
#include "cli/layer_run.hpp"
#include "cli/on_threads.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

// A group's dense weight, the moments of what it reads, and sampled rows.
struct group_data {
    size_t parts, K, N;         // N of each part
    std::vector<float> weight;  // [parts * N, K]
    std::vector<float> second, mean;
    std::span<const float> rows;  // [m, K]
    size_t m;
    std::vector<double> energy;  // of the outputs of each part, about their mean
};

std::vector<std::string> names_of(const model_handle &model, const read_group &group) {
    std::vector<std::string> names;
    for (size_t i = 0; i < group.n_layers; ++i) names.push_back(describe_layer(model, group.first_layer + i).name);
    return names;
}

// "a.{b,c}.d" for "a.b.d" and "a.c.d".
std::string joined(const std::vector<std::string> &names) {
    std::string_view first = names[0];
    size_t front = first.size(), back = first.size();
    for (const std::string_view name : names) {
        const size_t most = std::min(first.size(), name.size());
        front = std::min<size_t>(front, std::ranges::mismatch(first, name).in1 - first.begin());
        size_t same = 0;
        while (same < most && first[first.size() - 1 - same] == name[name.size() - 1 - same]) ++same;
        back = std::min(back, same);
    }
    if (names.size() == 1 || front + back >= first.size()) return names[0];
    std::string inner;
    for (const std::string &name : names)
        inner += (inner.empty() ? "" : ",") + name.substr(front, name.size() - back - front);
    return std::string(first.substr(0, front)) + '{' + inner + '}' + std::string(first.substr(first.size() - back));
}

ss1_linear_desc layer_desc(const ss1_linear_desc &present) {
    ss1_linear_desc desc = present;
    desc.activation = SS1_ACTIVATION_NONE;
    desc.x_dtype = desc.y_dtype = SS1_DTYPE_F32;
    return desc;
}

// Sum over the parts of (y - mean of y)^2 / m.
std::vector<double> energies(const group_data &data, const std::vector<float> &y) {
    const size_t n = data.parts * data.N;
    std::vector<double> energy(data.parts);
    for (size_t j = 0; j < n; ++j) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < data.m; ++i) {
            const double value = y[i * n + j];
            sum += value;
            squares += value * value;
        }
        const auto m = static_cast<double>(data.m);
        energy[j / data.N] += squares / m - sum / m * (sum / m);
    }
    return energy;
}

double total(const std::vector<double> &values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum;
}

group_data read_group_data(const context_handle &context, const std::vector<std::string> &names,
                           const calibrated &calibration, const read_group &from, size_t N,
                           const candidate_rules &rules) {
    group_data data = {names.size(), from.K, N, {}, {}, {}, from.rows, from.rows.size() / from.K, {}};
    data.weight.resize(data.parts * N * data.K);
    for (size_t i = 0; i < data.parts; ++i)
        check(ss1_model_expand(context.get(), rules.directory.c_str(), &rules.load, names[i].c_str(),
                               data.weight.data() + i * N * data.K, 0));
    data.second.resize(data.K * data.K);
    data.mean.resize(data.K);
    ss1_layer_statistics statistics = SS1_LAYER_STATISTICS_INIT;
    statistics.mean = data.mean.data();
    statistics.second_moment = data.second.data();
    check(ss1_calibration_layer(calibration.moments.get(), names[0].c_str(), &statistics));
    return data;
}

// The parts of a fitted form for all layers of a group, stacked along N.
struct fit {
    std::vector<float> z, u, v;
    double error;
};

// Fits `desc`, whose N is that of the stacked or of a single layer, to the weights from row `n0` on.
fit fit_layer(const group_data &data, const ss1_linear_desc &desc, size_t n0) {
    ss1_linear_desc resolved = desc;
    size_t columns = 0;
    check(ss1_linear_resolve(&resolved, &columns));
    fit result = {std::vector<float>(desc.N * columns), std::vector<float>(desc.N * desc.rank),
                  std::vector<float>(desc.rank * desc.K), 0};
    std::vector<float> bias(desc.N);
    ss1_fit_args args = SS1_FIT_ARGS_INIT;
    args.weight = data.weight.data() + n0 * data.K;
    args.second_moment = data.second.data();
    args.mean = data.mean.data();
    args.z = columns ? result.z.data() : nullptr;
    args.u = desc.rank ? result.u.data() : nullptr;
    args.v = desc.rank ? result.v.data() : nullptr;
    args.bias = bias.data();
    args.error = &result.error;
    check(ss1_linear_fit(&resolved, &args));
    return result;
}

// The energy of each of a low-rank fit's directions: |u_i|^2 v_i C v_i^T, C the covariance. The columns of U are
// orthogonal, largest first, so that the fits of lower ranks are its first directions.
std::vector<double> directions(const group_data &data, const fit &low_rank, size_t rank) {
    const size_t K = data.K, n = data.parts * data.N;
    std::vector<double> energy(rank);
    for (size_t r = 0; r < rank; ++r) {
        const float *const v = low_rank.v.data() + r * K;
        double u = 0, spread = 0, along_mean = 0;
        for (size_t i = 0; i < n; ++i) u += std::pow(static_cast<double>(low_rank.u[i * rank + r]), 2);
        for (size_t k = 0; k < K; ++k) {
            double row = 0;
            for (size_t i = 0; i < K; ++i) row += static_cast<double>(data.second[k * K + i] * v[i]);
            spread += row * static_cast<double>(v[k]);
            along_mean += static_cast<double>(data.mean[k] * v[k]);
        }
        energy[r] = u * std::max(spread - along_mean * along_mean, 0.0);
    }
    return energy;
}

// The first `rank` of the directions of a fit.
fit first_directions(const fit &from, size_t K, size_t of, size_t rank, double error) {
    fit result = {{}, {}, {from.v.begin(), from.v.begin() + static_cast<std::ptrdiff_t>(rank * K)}, error};
    for (size_t i = 0; i < from.u.size(); i += of)
        result.u.insert(result.u.end(), from.u.begin() + static_cast<std::ptrdiff_t>(i),
                        from.u.begin() + static_cast<std::ptrdiff_t>(i + rank));
    return result;
}

constexpr size_t rank_step = 16;   // fills tiles
constexpr size_t most_ranks = 12;  // of a layer

// The largest rank whose multiply-adds are at most `share` of the dense ones, down to a multiple of rank_step.
size_t rank_within(double share, size_t K, size_t N) {
    const auto k = static_cast<double>(K), n = static_cast<double>(N);
    return static_cast<size_t>(share * k * n / (k + n)) / rank_step * rank_step;
}

std::vector<size_t> ranks_alone(size_t K, size_t N) {
    const size_t most = std::min({rank_within(0.95, K, N), K, N});
    const size_t step = std::max<size_t>((most / most_ranks + rank_step - 1) / rank_step, 1) * rank_step;
    std::vector<size_t> ranks;
    for (size_t rank = step; rank <= most; rank += step) ranks.push_back(rank);
    return ranks;
}

// Sets c and the widest block_k that fits; false if none does.
bool tie(ss1_linear_desc &desc, uint32_t c) {
    for (const uint32_t block_k : {64u, 32u, 16u}) {
        if (size_t{c} * block_k > desc.K) continue;
        desc.c = c;
        desc.block_k = block_k;
        return true;
    }
    return false;
}

// Collects the candidates of a group.
class group_fits {
  public:
    group_fits(const context_handle &context, const group_data &data, const std::vector<ss1_dtype> &dtypes,
               std::vector<candidate> &out)
        : context_(context), data_(data), dtypes_(dtypes), out_(out) {
        plain_.K = data.K;
        plain_.N = data.N;
        plain_.weight_dtype = out_[0].desc.weight_dtype;
        energy_ = energies(data_, outputs(with_c(1), {data.weight, {}, {}, 0}, SS1_DTYPE_F32));
    }

    void add_dense_types() {
        if (!dtypes_.empty()) add(with_c(1), {data_.weight, {}, {}, 0}, true);
    }
    void add_low_rank() {
        const std::vector<size_t> ranks = ranks_alone(data_.K, data_.parts * data_.N);
        if (ranks.empty()) return;
        ss1_linear_desc stacked = plain_;
        stacked.N *= data_.parts;
        stacked.rank = ranks.back();
        const fit best = fit_layer(data_, stacked, 0);
        const std::vector<double> energy = directions(data_, best, stacked.rank);
        const double all = best.error < 1 ? total(energy) / (1 - best.error) : 0;
        for (const size_t rank : ranks) {
            double lost = 0;
            for (size_t r = rank; r < energy.size(); ++r) lost += energy[r];
            ss1_linear_desc desc = plain_;
            desc.rank = rank;
            add(desc, first_directions(best, data_.K, stacked.rank, rank, best.error + (all > 0 ? lost / all : 0)));
        }
    }
    // Each layer has its own mapping and, with a rank, its own V.
    void add_tied(uint32_t c, size_t rank) {
        ss1_linear_desc desc = plain_;
        desc.rank = rank;
        if (!tie(desc, c)) return;
        fit all = {{}, {}, {}, 0};
        for (size_t i = 0; i < data_.parts; ++i) {
            const fit part = fit_layer(data_, desc, i * data_.N);
            for (const auto member : {&fit::z, &fit::u, &fit::v})
                (all.*member).insert((all.*member).end(), (part.*member).begin(), (part.*member).end());
            all.error += part.error * energy_[i] / std::max(total(energy_), 1e-300);
        }
        add(desc, all);
    }

  private:
    ss1_linear_desc with_c(uint32_t c) const {
        ss1_linear_desc desc = plain_;
        desc.c = c;
        return desc;
    }
    // What the group gives for the sampled rows with weights of `dtype`: [m, parts * N].
    std::vector<float> outputs(ss1_linear_desc desc, const fit &fitted, ss1_dtype dtype) const {
        desc.weight_dtype = dtype;
        return run_stacked(context_, desc, data_.parts, {fitted.z, fitted.u, fitted.v}, data_.rows, data_.m);
    }
    // Adds the form in each type. To the error of the closed form comes what the type adds on the sampled rows.
    void add(const ss1_linear_desc &form, const fit &fitted, bool is_dense = false) {
        ss1_linear_desc desc = form;
        if (dtypes_.empty()) return out_.push_back({desc, fitted.error, 0});
        const std::vector<float> exact = outputs(desc, fitted, SS1_DTYPE_F32);
        for (const ss1_dtype dtype : dtypes_) {
            desc.weight_dtype = dtype;
            if (is_dense && dtype == plain_.weight_dtype) continue;  // the present form
            double error = fitted.error;
            if (dtype != SS1_DTYPE_F32) {
                std::vector<float> difference = outputs(desc, fitted, dtype);
                std::ranges::transform(difference, exact, difference.begin(), std::minus());
                double squares = 0;
                for (const float d : difference) squares += static_cast<double>(d) * static_cast<double>(d);
                error += squares / static_cast<double>(data_.m) / std::max(total(energy_), 1e-300);
            }
            out_.push_back({desc, error, 0});
        }
    }

    const context_handle &context_;
    const group_data &data_;
    const std::vector<ss1_dtype> &dtypes_;
    std::vector<candidate> &out_;
    ss1_linear_desc plain_ = SS1_LINEAR_DESC_INIT;
    std::vector<double> energy_;
};

void fit_all(group_fits &fits, const group_data &data) {
    fits.add_dense_types();
    fits.add_low_rank();
    for (const uint32_t c : {2u, 4u, 8u}) fits.add_tied(c, 0);
    if (data.parts > 1) return;  // with both parts each layer has its own V, so that they would not run as one
    for (const uint32_t c : {4u, 8u}) {
        std::set<size_t> ranks;
        for (const double share : {0.125, 0.25}) ranks.insert(rank_within(share, data.K, data.N));
        for (const size_t rank : ranks)
            if (rank) fits.add_tied(c, rank);
    }
}

size_t rows_read(const calibrated &calibration, const std::string &layer) {
    ss1_layer_statistics statistics = SS1_LAYER_STATISTICS_INIT;
    check(ss1_calibration_layer(calibration.moments.get(), layer.c_str(), &statistics));
    return statistics.rows;
}

// A group with its present form, and why it keeps that form, if this is known without a look at other forms.
layer_group make_group(const model_handle &model, const calibrated &calibration, const read_group &from,
                       const candidate_rules &rules) {
    layer_group group;
    group.layers = names_of(model, from);
    group.name = joined(group.layers);
    const ss1_linear_desc present = layer_desc(describe_layer(model, from.first_layer).layer.desc);
    group.K = present.K;
    group.N = present.N;
    group.candidates.push_back({present, 0, 0});
    const size_t rows = rows_read(calibration, group.layers[0]), needed = rules.min_rows ? rules.min_rows : group.K;
    group.is_timed = !family_of(model).has_tokens || rows > calibration.rows;
    if (present.c > 1)
        group.reason = "is tied (SS1) already";
    else if (present.rank)
        group.reason = "has a low-rank part already";
    else if (!group.is_timed)
        group.reason = "runs once a sequence, not once a token";
    else if (rows < needed)
        throw failure(
            format("--calibrate: layer %s has read %zu rows beside those held out, it needs %zu (%s)",
                   group.name.c_str(), rows, needed, rules.min_rows ? "--min-rows" : "as many as it has inputs"),
            "give more rows, or a lower --min-rows");
    return group;
}

}  // namespace

std::string form_name(const ss1_linear_desc &desc) {
    std::string name = desc.c > 1 ? format("c=%u", desc.c) : desc.rank ? "" : "dense";
    if (desc.rank) name += (name.empty() ? "" : " + ") + format("rank %zu", desc.rank);
    const bool is_f32 = desc.weight_dtype == SS1_DTYPE_DEFAULT || desc.weight_dtype == SS1_DTYPE_F32;
    return is_f32 ? name : name + ' ' + dtype_name(desc.weight_dtype);
}

std::vector<layer_group> list_candidates(const context_handle &context, const model_handle &model,
                                         const calibrated &calibration, const candidate_rules &rules,
                                         const progress_of_groups &each) {
    std::vector<layer_group> groups;
    for (const read_group &from : calibration.groups) groups.push_back(make_group(model, calibration, from, rules));
    on_threads(rules.threads, groups.size(), each, [&](size_t g) {
        if (!groups[g].reason.empty()) return;
        const group_data data =
            read_group_data(context, groups[g].layers, calibration, calibration.groups[g], groups[g].N, rules);
        group_fits fits(context, data, rules.dtypes, groups[g].candidates);
        fit_all(fits, data);
    });
    return groups;
}

void time_candidates(const context_handle &context, size_t rows, std::vector<layer_group> &groups,
                     const progress_of_groups &each) {
    const auto shape = [](const layer_group &group) {
        return std::tuple(group.K, group.N, group.layers.size(), group.candidates.size(),
                          form_name(group.candidates[0].desc));
    };
    std::vector<const layer_group *> timed;
    for (layer_group &group : groups) {
        if (!group.is_timed) continue;
        const auto same =
            std::ranges::find(timed, shape(group), [&](const layer_group *other) { return shape(*other); });
        if (same != timed.end()) {
            for (size_t i = 0; i < group.candidates.size(); ++i) group.candidates[i].us = (*same)->candidates[i].us;
            continue;
        }
        each(static_cast<size_t>(&group - groups.data()), groups.size());
        std::vector<ss1_linear_desc> descs;
        for (const candidate &c : group.candidates) descs.push_back(c.desc);
        const std::vector<double> us = time_layers(context, descs, group.layers.size(), rows);
        for (size_t i = 0; i < us.size(); ++i) group.candidates[i].us = us[i];
        timed.push_back(&group);
    }
}

}  // namespace ss1::cli
