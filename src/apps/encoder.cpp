// SPDX-License-Identifier: Apache-2.0
#include "apps/encoder.hpp"

#include <cmath>

#include "apps/failure.hpp"

namespace ss1::apps {
namespace {

std::vector<ss1_text> views(std::span<const std::string> texts) {
    std::vector<ss1_text> result;
    for (const std::string &text : texts) result.push_back({sizeof(ss1_text), text.data(), text.size()});
    return result;
}

}  // namespace

size_t encoder::width(const encode_settings &settings) const {
    const ss1_model_info info = describe(model_);
    const size_t all = settings.output.empty() ? info.embedding_size : info.n_labels;
    if (settings.dimensions > all)
        throw failure("--dimensions " + std::to_string(settings.dimensions) + " is above the " + std::to_string(all) +
                          " of the model",
                      "ask for fewer");
    return settings.dimensions ? settings.dimensions : all;
}

void encoder::run(std::span<const std::string> texts, std::span<const std::string> second,
                  const encode_settings &settings, float *y, float *scores) const {
    const std::vector<ss1_text> first = views(texts), others = views(second);
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.n = texts.size();
    args.first = first.data();
    args.second = others.empty() ? nullptr : others.data();
    args.output = settings.output.empty() ? nullptr : settings.output.c_str();
    args.prompt = settings.prompt ? settings.prompt->c_str() : nullptr;
    args.max_tokens = settings.max_tokens;
    args.batch_tokens = settings.batch_tokens;
    args.dimensions = settings.dimensions;
    args.y = y;
    args.scores = scores;
    constexpr option_name names[] = {{"args.prompt", "--prompt"},
                                     {"args.max_tokens", "--max-tokens"},
                                     {"args.batch_tokens", "--batch-tokens"},
                                     {"args.dimensions", "--dimensions"},
                                     {"args.scores: the model", "the model"}};
    check(ss1_model_encode(model_.get(), tokenizer_.get(), &args), names);
}

std::vector<float> encoder::encode(std::span<const std::string> texts, const encode_settings &settings) const {
    std::vector<float> rows(texts.size() * width(settings));
    run(texts, {}, settings, rows.data(), nullptr);
    return rows;
}

encoder::judgements encoder::judge(std::span<const std::string> texts, std::span<const std::string> second,
                                   encode_settings settings) const {
    settings.output = "logits";
    judgements result;
    result.logits.resize(texts.size() * width(settings));
    result.scores.resize(result.logits.size());
    run(texts, second, settings, result.logits.data(), result.scores.data());
    return result;
}

void refuse_not_finite(std::span<const float> rows, size_t width, const std::string &file, size_t before) {
    for (size_t i = 0; i < rows.size(); ++i)
        if (!std::isfinite(rows[i]))
            throw failure(
                file + ":" + std::to_string(before + i / width + 1) + ": the model gives numbers that are not finite",
                "its weights are too large for this text: leave the line out, or mend the model");
}

}  // namespace ss1::apps
