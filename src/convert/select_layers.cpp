// SPDX-License-Identifier: Apache-2.0
#include "convert/select_layers.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "convert/calibration.hpp"
#include "convert/convert_options.hpp"
#include "io/families.hpp"
#include "mapping/mapping.hpp"
#include "op/linear.hpp"

namespace ss1 {
namespace {

// One comma-separated part of ss1_convert_options::layers.
struct pattern {
    std::string text;
    bool exclude;
};

ss1_status parse_patterns(const char *list, std::vector<pattern> &out) {
    std::string_view rest = list ? list : "";
    while (!rest.empty()) {
        std::string_view part = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(rest.size(), part.size() + 1));
        while (part.starts_with(' ')) part.remove_prefix(1);
        while (part.ends_with(' ')) part.remove_suffix(1);
        const bool exclude = part.starts_with('!');
        if (exclude) part.remove_prefix(1);
        SS1_CHECK(!part.empty(), SS1_ERROR_INVALID_ARGUMENT, "options.layers='%s': empty pattern",
                  printable(list).c_str());
        out.push_back({std::string(part), exclude});
    }
    SS1_CHECK(!list || !out.empty(), SS1_ERROR_INVALID_ARGUMENT, "options.layers is empty, NULL means every layer");
    return SS1_OK;
}

bool matches(const std::vector<pattern> &patterns, bool exclude, const std::string &name) noexcept {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const pattern &p) { return p.exclude == exclude && glob_match(p.text, name); });
}

// Lists the linear layers that the directory has: a BERT may lack pooler and classifier.
std::vector<linear_shape> present_layers(const model_directory &directory) {
    std::vector<linear_shape> layers = linear_layers(directory.config);
    std::erase_if(layers, [&](const linear_shape &layer) {
        return !directory.find(layer.name + ".weight") && !directory.find(layer.name + ".ss1_weight") &&
               !directory.find(layer.name + ".low_rank_up");
    });
    return layers;
}

// The largest rank with which the multiply-adds of `parts` layers with one V are at most `share` of those of the dense
// ones.
size_t rank_within(double share, const ss1_linear_desc &desc, size_t parts) noexcept {
    const auto K = static_cast<double>(desc.K), N = static_cast<double>(desc.N * parts);
    const double left = share - static_cast<double>(mapping(desc).stored_columns) / K;
    return left > 0 ? std::min(static_cast<size_t>(left * K * N / (K + N)), std::min(desc.K, desc.N)) : 0;
}

// Resolves the desc of a layer from `options`: sets K, N, the rank and every default. `parts`: layers with its V. A
// share that leaves no rank gives rank 0.
ss1_status convert_layer(const model_directory &directory, const ss1_convert_options &options,
                         const linear_shape &shape, size_t parts, layer_config &out) {
    const auto before = directory.config.layers.find(shape.name);
    out = {false, SS1_LINEAR_DESC_INIT};
    if (before != directory.config.layers.end()) out = before->second;
    const ss1_dtype dtype = options.desc->weight_dtype ? options.desc->weight_dtype : out.desc.weight_dtype;
    if (reforms(options)) out = {options.desc->c >= 2, *options.desc};
    out.desc.weight_dtype = dtype;
    out.desc.K = shape.K;
    out.desc.N = shape.N;
    const std::string where = "layer " + shape.name;
    if (!(options.share > 0)) return resolve_for(where, SS1_ERROR_INVALID_ARGUMENT, out.desc);
    ss1_linear_desc tied = out.desc;  // where c is 0, the rank comes first: a layer without parts is none
    if (out.tied) SS1_TRY(resolve_for(where, SS1_ERROR_INVALID_ARGUMENT, tied));
    out.desc.rank = rank_within(options.share, tied, parts);
    return resolve_for(where, SS1_ERROR_INVALID_ARGUMENT, out.desc);
}

// Returns the least number of columns that the mapping of `options` needs, as far as the options alone determine it; 0
// without a mapping.
ss1_status needed_columns(const ss1_convert_options &options, size_t &out) {
    ss1_linear_desc widest = *options.desc;
    widest.K = size_t{1} << 31;
    widest.N = 1;
    widest.rank = 0;
    widest.weight_dtype = SS1_DTYPE_F32;
    SS1_TRY(resolve_for("options.desc", SS1_ERROR_INVALID_ARGUMENT, widest));
    out = options.desc->c >= 2 ? size_t{widest.c} * widest.block_k : 0;
    return SS1_OK;
}

// Whether a run would expand the layer to a dense one again.
ss1_status is_expanded(ss1_context &context, const ss1_linear_desc &desc, bool &out) {
    const std::vector<float> z(desc.N * mapping(desc).stored_columns), u(desc.N * desc.rank), v(desc.rank * desc.K);
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.empty() ? nullptr : z.data();
    weights.u = u.empty() ? nullptr : u.data();
    weights.v = v.empty() ? nullptr : v.data();
    ss1_layer *created = nullptr;
    SS1_TRY(layer_create(context, desc, weights, &created));
    const std::unique_ptr<ss1_layer> layer(created);
    out = std::string_view(layer->info.kernels).find("expanded") != std::string_view::npos;
    return SS1_OK;
}

std::string form_of(const model_directory &directory, const std::string &layer) {
    return directory.config.is_tied(layer) ? "is tied (SS1)" : "has a low-rank part";
}

// Fewer inputs, such as the dense features of a DLRM, would be lost to a rank below their number.
constexpr size_t least_inputs = 16;

// Says why a layer that nobody names keeps its form; empty: it gets a new one.
ss1_status reason_to_keep(ss1_context &context, const model_directory &directory, const ss1_convert_options &options,
                          const linear_shape &layer, size_t needed, std::string &out) {
    out.clear();
    if (reforms(options) && !directory.config.is_plain(layer.name)) {
        out = form_of(directory, layer.name) + " already";
    } else if (reforms(options) && layer.once_a_sequence && options.from == SS1_CONVERT_FROM_DENSE) {
        out = "it runs once a sequence, not once a token";
    } else if (layer.K < needed) {
        out = "K=" + std::to_string(layer.K) + " is below c*block_k=" + std::to_string(needed);
        uint32_t fitting = 256;
        while (fitting >= 16 && size_t{options.desc->c} * fitting > layer.K) fitting /= 2;
        if (fitting >= 16) out += "; block_k=" + std::to_string(fitting) + " would fit";
    } else if (reforms(options) && options.from == SS1_CONVERT_FROM_DENSE && layer.K < least_inputs) {
        out = "K=" + std::to_string(layer.K) + ": a product over so few inputs costs too little to save any of it";
    } else if (reforms(options) && options.desc->rank > std::min(layer.K, layer.N)) {
        out = "K=" + std::to_string(layer.K) + ", N=" + std::to_string(layer.N) + ": it has no rank of " +
              std::to_string(options.desc->rank);
    } else if (reforms(options) && options.from == SS1_CONVERT_FROM_DENSE) {
        layer_config config;
        SS1_TRY(convert_layer(directory, options, layer, 1, config));
        const bool has_no_rank = options.share > 0 && !config.desc.rank;
        bool expanded = false;
        if (!has_no_rank) SS1_TRY(is_expanded(context, config.desc, expanded));
        if (has_no_rank)
            out = "N=" + std::to_string(layer.N) + ": the share leaves no rank";
        else if (expanded)
            out = "N=" + std::to_string(layer.N) +
                  ": a run would expand it again: what comes before its product would cost more than it saves";
    }
    return SS1_OK;
}

// Reports a layer that is not fitted: it keeps its form for `reason`, or (NULL) changes its type alone.
void report(const ss1_convert_options &options, const std::string &name, ss1_linear_desc desc, const char *reason) {
    if (!options.report) return;
    ss1_converted_layer layer = SS1_CONVERTED_LAYER_INIT;
    layer.name = name.c_str();
    layer.reason = reason;
    layer.desc = desc;
    options.report(options.report_user, &layer);
}

ss1_linear_desc present_desc(const model_directory &directory, const linear_shape &layer) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    if (const auto found = directory.config.layers.find(layer.name); found != directory.config.layers.end())
        desc = found->second.desc;
    desc.K = layer.K;
    desc.N = layer.N;
    return desc;
}

// Whether options.form has set nothing.
bool leaves_all(const ss1_linear_desc &desc) noexcept {
    return !desc.c && !desc.scheme && !desc.seed && !desc.block_k && !desc.block_n && !desc.step && !desc.activation &&
           !desc.x_dtype && !desc.y_dtype && !desc.weight_dtype && !desc.rank;
}

// check_options() of what options.form says of a layer, with its name in the message.
ss1_status check_form_of(const std::string &layer, const ss1_convert_options &own) {
    ss1_status status;
    {
        const api_scope unnamed(nullptr);  // our message, which contains this one, names the API function
        status = check_options(own);
    }
    SS1_CHECK(status == SS1_OK, status, "options.form, layer %s: %s", layer.c_str(), last_error());
    return SS1_OK;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) noexcept {
    size_t p = 0, t = 0, star = pattern.npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p, ++t;
        } else if (star != pattern.npos) {  // the last star takes one more character
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == pattern.npos;
}

ss1_status layers_with_one_v(const ss1_calibration *calibration, const layer_configs &converted,
                             const std::string &layer, std::vector<std::string> &out) {
    out = {layer};
    const ss1_linear_desc &desc = converted.at(layer).desc;
    if (!calibration || desc.c >= 2 || !desc.rank) return SS1_OK;
    const input_sums *own = nullptr, *others = nullptr;
    SS1_TRY(calibration_sums(*calibration, layer.c_str(), own));
    out.clear();
    for (const auto &[name, other] : converted) {
        SS1_TRY(calibration_sums(*calibration, name.c_str(), others));
        if (others == own && other.desc.N == desc.N && other.desc.c == desc.c && other.desc.rank == desc.rank)
            out.push_back(name);
    }
    return SS1_OK;
}

ss1_status select_layers(ss1_context &context, const model_directory &directory, const ss1_convert_options &options,
                         layer_configs &out) {
    std::vector<pattern> patterns;
    SS1_TRY(parse_patterns(options.layers, patterns));
    const std::vector<linear_shape> layers = present_layers(directory);
    for (const pattern &p : patterns) {
        SS1_CHECK(std::any_of(layers.begin(), layers.end(),
                              [&](const linear_shape &layer) { return glob_match(p.text, layer.name); }),
                  SS1_ERROR_INVALID_ARGUMENT, "options.layers: '%s' matches no linear layer of %s",
                  printable(p.text).c_str(), directory.path.c_str());
    }
    const bool named = std::any_of(patterns.begin(), patterns.end(), [](const pattern &p) { return !p.exclude; });
    size_t needed = 0;
    SS1_TRY(needed_columns(options, needed));
    std::vector<linear_shape> chosen;
    for (const linear_shape &layer : layers) {
        std::string reason;
        if (matches(patterns, true, layer.name) || (named && !matches(patterns, false, layer.name)))
            reason = "not named by layers";
        else if (!named)
            SS1_TRY(reason_to_keep(context, directory, options, layer, needed, reason));
        if (!reason.empty()) {
            report(options, layer.name, present_desc(directory, layer), reason.c_str());
            continue;
        }
        SS1_CHECK(!reforms(options) || directory.config.is_plain(layer.name), SS1_ERROR_INVALID_ARGUMENT,
                  "options.layers: layer %s %s already", layer.name.c_str(), form_of(directory, layer.name).c_str());
        chosen.push_back(layer);
    }
    for (const linear_shape &layer : chosen) SS1_TRY(convert_layer(directory, options, layer, 1, out[layer.name]));
    const layer_configs alone = out;  // with the ranks that layers get whose V is their own
    for (const linear_shape &layer : chosen) {
        std::vector<std::string> partners;
        SS1_TRY(layers_with_one_v(options.calibration, alone, layer.name, partners));
        layer_config &config = out[layer.name];
        SS1_TRY(convert_layer(directory, options, layer, partners.size(), config));
        SS1_CHECK(!(options.share > 0) || config.desc.rank, SS1_ERROR_INVALID_ARGUMENT,
                  "layer %s: options.share=%g leaves no rank of K=%zu, N=%zu, c=%u", layer.name.c_str(), options.share,
                  layer.K, layer.N, options.desc->c);
        if (!reforms(options)) report(options, layer.name, config.desc, nullptr);
    }
    SS1_CHECK(
        !out.empty(), SS1_ERROR_INVALID_ARGUMENT,
        "no linear layer of %s is selected: none has c*block_k=%zu <= K and is worth it; options.layers names layers",
        directory.path.c_str(), needed);
    return SS1_OK;
}

ss1_status ask_for_forms(const model_directory &directory, const ss1_convert_options &options, layer_configs &out) {
    for (const linear_shape &layer : present_layers(directory)) {
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = layer.K;
        desc.N = layer.N;
        options.form(options.form_user, layer.name.c_str(), &desc);
        SS1_CHECK(desc.K == layer.K && desc.N == layer.N, SS1_ERROR_INVALID_ARGUMENT,
                  "options.form changes K=%zu, N=%zu of layer %s to %zu, %zu", layer.K, layer.N, layer.name.c_str(),
                  desc.K, desc.N);
        desc.K = desc.N = 0;
        if (leaves_all(desc)) {
            report(options, layer.name, present_desc(directory, layer), "options.form leaves it");
            continue;
        }
        ss1_convert_options own = options;
        own.form = nullptr;
        own.desc = &desc;
        if (!has_parts(desc)) own.calibration = nullptr, own.min_rows = 0;
        SS1_TRY(check_form_of(layer.name, own));
        SS1_CHECK(!has_parts(desc) || directory.config.is_plain(layer.name), SS1_ERROR_INVALID_ARGUMENT,
                  "options.form: layer %s %s already", layer.name.c_str(), form_of(directory, layer.name).c_str());
        layer_config &config = out[layer.name];
        SS1_TRY(convert_layer(directory, own, layer, 1, config));
        if (!has_parts(desc)) report(options, layer.name, config.desc, nullptr);
    }
    return SS1_OK;
}

}  // namespace ss1
