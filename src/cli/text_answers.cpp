// SPDX-License-Identifier: Apache-2.0
#include "text_answers.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ss1::cli {
namespace {

using nlohmann::ordered_json;

constexpr size_t n_masked = 5;  // tokens shown for each [MASK]

std::vector<double> softmax(const float *logits, size_t n) {
    const double largest = *std::max_element(logits, logits + n);
    std::vector<double> scores(n);
    std::transform(logits, logits + n, scores.begin(), [&](float logit) { return std::exp(logit - largest); });
    const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
    for (double &score : scores) score /= sum;
    return scores;
}

double sigmoid(float logit) {
    return 1 / (1 + std::exp(-static_cast<double>(logit)));
}

// Digits that say what f32 can know.
double six_digits(double score) {
    return std::strtod(format("%.6g", score).c_str(), nullptr);
}

ordered_json scored(const char *what, const std::string &name, double score) {
    return {{what, name}, {"score", six_digits(score)}};
}

// The output that answers for a text: logits or, without a head, the pooled vector.
ss1_tensor find_output(const model_handle &model) {
    ss1_tensor logits = {}, pooled = {};
    for (size_t i = 0, n = describe(model).n_outputs; i < n; ++i) {
        ss1_tensor tensor = {};
        check(ss1_model_output(model.get(), i, &tensor));
        if (std::string_view(tensor.name) == "logits") logits = tensor;
        if (std::string_view(tensor.name) == "pooled") pooled = tensor;
    }
    if (logits.name) return logits;
    if (pooled.name) return pooled;
    throw failure("--text needs a classifier, a masked language model or a model with a pooler",
                  "'ss1 inspect MODEL' shows what this one is");
}

std::vector<std::string> labels_of(const model_handle &model) {
    std::vector<std::string> labels(describe(model).n_labels);
    for (size_t i = 0; i < labels.size(); ++i) {
        const char *label = nullptr;
        check(ss1_model_label(model.get(), i, &label));
        labels[i] = label;
    }
    return labels;
}

}  // namespace

text_answers::text_answers(const model_handle &model, const ss1_tokenizer *tokenizer)
    : tokenizer_(tokenizer), labels_(labels_of(model)) {
    const ss1_tensor output = find_output(model);
    name_ = output.name;
    width_ = static_cast<size_t>(output.shape[output.rank - 1]);
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    check(ss1_tokenizer_describe(tokenizer, &info));
    mask_ = info.mask;
    if (output.rank == 3 && !labels_.empty())
        throw failure("--text does not take classifiers of tokens", "use the library: logits [B, T, labels]");
    if (output.rank == 3) {
        kind_ = kind::masked_tokens;
    } else if (labels_.empty()) {
        kind_ = kind::vector;
    } else {  // what the text classification of transformers does with the scores
        const std::string type =
            nlohmann::json::parse(describe(model).config).value("problem_type", nlohmann::json()).dump();
        kind_ = type == "\"regression\""                                          ? kind::value
                : type == "\"multi_label_classification\"" || labels_.size() == 1 ? kind::any_labels
                                                                                  : kind::one_label;
    }
}

ss1_tensor text_answers::output(size_t batch, size_t tokens) {
    stride_ = kind_ == kind::masked_tokens ? tokens * width_ : width_;
    values_.resize(batch * stride_);
    ss1_tensor tensor = {};
    tensor.name = name_.c_str();
    tensor.dtype = SS1_DTYPE_F32;
    tensor.data = values_.data();
    tensor.bytes = values_.size() * sizeof(float);
    return tensor;
}

std::string text_answers::token(size_t id) const {
    const char *text = nullptr;
    check(ss1_tokenizer_token(tokenizer_, static_cast<int64_t>(id), &text));
    return text;
}

// The most likely tokens at each [MASK].
ordered_json text_answers::masked_tokens(const float *logits, const std::vector<int64_t> &ids) const {
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    check(ss1_tokenizer_describe(tokenizer_, &info));
    ordered_json masks = ordered_json::array();
    for (size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] != mask_) continue;
        const std::vector<double> scores = softmax(logits + t * width_, width_);
        std::vector<size_t> best(info.vocab_size);  // the model may have rows beyond the vocabulary
        std::iota(best.begin(), best.end(), size_t{0});
        const auto end = best.begin() + std::min(n_masked, best.size());
        std::partial_sort(best.begin(), end, best.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
        ordered_json tokens = ordered_json::array();
        for (auto id = best.begin(); id != end; ++id) tokens.push_back(scored("token", token(*id), scores[*id]));
        masks.push_back(tokens);
    }
    return masks;
}

ordered_json text_answers::answer(size_t i, const std::vector<int64_t> &ids) const {
    const float *const values = values_.data() + i * stride_;
    switch (kind_) {
        case kind::one_label: {
            const size_t best = static_cast<size_t>(std::max_element(values, values + width_) - values);
            return scored("label", labels_[best], softmax(values, width_)[best]);
        }
        case kind::any_labels: {
            ordered_json scores;
            for (size_t k = 0; k < width_; ++k) scores[labels_[k]] = six_digits(sigmoid(values[k]));
            return {{"scores", scores}};
        }
        case kind::value:
            return {
                {"score", width_ == 1 ? ordered_json(values[0]) : ordered_json(std::vector(values, values + width_))}};
        case kind::masked_tokens:
            return {{"masks", masked_tokens(values, ids)}};
        case kind::vector:
            return {{"pooled", std::vector(values, values + width_)}};
    }
    return {};
}

}  // namespace ss1::cli
