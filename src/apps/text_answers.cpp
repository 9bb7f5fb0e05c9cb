// SPDX-License-Identifier: Apache-2.0
#include "apps/text_answers.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/problem_type.hpp"

namespace ss1::apps {
namespace {

constexpr size_t n_masked = 5;            // tokens shown for each [MASK]
constexpr size_t max_answer_tokens = 15;  // as in transformers' pipeline

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

json scored(const char *what, const std::string &name, double score) {
    return {{what, name}, {"score", six_digits(score)}};
}

// The outputs that answer for a text: those of its head or, without one, a vector.
std::vector<ss1_tensor> find_outputs(const model_handle &model) {
    std::map<std::string, ss1_tensor> all;
    for (const ss1_tensor &tensor : outputs_of(model)) all[tensor.name] = tensor;
    if (all.count("logits")) return {all["logits"]};
    if (all.count("start_logits")) return {all["start_logits"], all["end_logits"]};
    for (const char *name : {"pooled", "sentence_embedding"})
        if (all.count(name)) return {all[name]};
    throw failure("a text needs a model with a head, a pooler or a pooling",
                  "'ss1 inspect MODEL' shows what this one is");
}

// Scores are members by the label's name: two labels of one name would overwrite each other.
void check_names_differ(const std::vector<std::string> &labels) {
    std::map<std::string, size_t> ids;
    for (size_t i = 0; i < labels.size(); ++i) {
        const auto [first, is_new] = ids.emplace(labels[i], i);
        if (!is_new)
            throw failure(format("id2label gives %zu and %zu the same label %s, which has two scores then",
                                 first->second, i, json(labels[i]).dump().c_str()),
                          "give each label in config.json its own name");
    }
}

// Probabilities of [CLS], first, and of the tokens [begin, end). A model that was trained with unanswerable questions
// points to [CLS].
std::vector<double> position_scores(const float *logits, size_t begin, size_t end) {
    std::vector<float> candidates = {logits[0]};
    candidates.insert(candidates.end(), logits + begin, logits + end);
    return softmax(candidates.data(), candidates.size());
}

struct scored_tokens {
    size_t begin, end;  // [begin, end)
    double score;
};

// Finds the likeliest answer in the tokens [begin, end): the largest product of a start's and an end's probability.
scored_tokens best_answer(const float *starts, const float *ends, size_t begin, size_t end) {
    const std::vector<double> start = position_scores(starts, begin, end), last = position_scores(ends, begin, end);
    scored_tokens best = {begin, begin, 0};
    for (size_t i = begin; i < end; ++i) {
        for (size_t k = i; k < std::min(i + max_answer_tokens, end); ++k) {
            const double score = start[1 + i - begin] * last[1 + k - begin];
            if (score > best.score) best = {i, k + 1, score};
        }
    }
    return best;
}

json part(const char *what, std::string_view text, int64_t begin, int64_t end) {
    const auto first = static_cast<size_t>(begin), size = static_cast<size_t>(end - begin);
    return {{what, text.substr(first, size)}, {"begin", begin}, {"end", end}};
}

}  // namespace

text_answers::text_answers(const model_handle &model, const ss1_tokenizer *tokenizer, bool pairs)
    : tokenizer_(tokenizer), labels_(labels_of(model)) {
    const std::vector<ss1_tensor> outputs = find_outputs(model);
    for (const ss1_tensor &output : outputs) names_.push_back(output.name);
    const ss1_tensor &output = outputs[0];
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    check(ss1_tokenizer_describe(tokenizer, &info));
    mask_ = info.mask;
    vocab_size_ = info.vocab_size;
    kind_ = names_.size() == 2 ? kind::part_of_context : kind_of(model, output.rank);
    of_tokens_ = kind_ == kind::part_of_context || output.rank == 3;
    width_ = kind_ == kind::part_of_context ? 1 : static_cast<size_t>(output.shape[output.rank - 1]);
    pairs_ = pairs || kind_ == kind::part_of_context;
    if (kind_ == kind::any_labels) check_names_differ(labels_);
    if (pairs && kind_ == kind::word_labels)
        throw failure("--pairs does not go with a classifier of tokens", "give each text a line of its own");
}

text_answers::kind text_answers::kind_of(const model_handle &model, size_t rank) const {
    if (rank == 3) return labels_.empty() ? kind::masked_tokens : kind::word_labels;
    if (labels_.empty()) return kind::vector;
    switch (problem_of(model, labels_.size())) {
        case problem_type::one_label:
            return kind::one_label;
        case problem_type::any_labels:
            return kind::any_labels;
        default:
            return kind::value;
    }
}

std::vector<ss1_tensor> text_answers::outputs(size_t batch, size_t tokens) {
    batch_ = batch;
    stride_ = of_tokens_ ? tokens * width_ : width_;
    values_.resize(names_.size() * batch * stride_);
    std::vector<ss1_tensor> tensors(names_.size(), SS1_TENSOR_INIT);
    for (size_t i = 0; i < tensors.size(); ++i) {
        tensors[i].name = names_[i].c_str();
        tensors[i].dtype = SS1_DTYPE_F32;
        tensors[i].data = values_.data() + i * batch * stride_;
        tensors[i].bytes = batch * stride_ * sizeof(float);
    }
    return tensors;
}

std::string text_answers::token(int64_t id) const {
    const char *text = nullptr;
    check(ss1_tokenizer_token(tokenizer_, id, &text));
    return text;
}

bool text_answers::continues_word(const text_row &row, size_t t, std::string_view text) const {
    const std::string piece = token(row.ids[t]);
    const size_t begin = static_cast<size_t>(row.begins[t]);
    // The text contains an added token that starts with ## unchanged.
    return piece.starts_with("##") && !text.substr(begin).starts_with(piece);
}

json text_answers::one_label(const float *logits) const {
    const size_t best = static_cast<size_t>(std::max_element(logits, logits + width_) - logits);
    return scored("label", labels_[best], softmax(logits, width_)[best]);
}

// A word gets the label of its first token, as with transformers' aggregation strategy "first".
json text_answers::word_labels(const float *logits, const text_row &row) const {
    json words = json::array();
    for (size_t t = 0; t < row.ids.size();) {
        const size_t begin = t++;
        if (!row.in_text(begin)) continue;
        while (t < row.ids.size() && row.in_text(t) && continues_word(row, t, row.first)) ++t;
        json word = part("word", row.first, row.begins[begin], row.ends[t - 1]);
        word.update(one_label(logits + begin * width_));
        words.push_back(word);
    }
    return words;
}

// The most likely tokens at each [MASK].
json text_answers::masked_tokens(const float *logits, const text_row &row) const {
    json masks = json::array();
    for (size_t t = 0; t < row.ids.size(); ++t) {
        if (row.ids[t] != mask_) continue;
        const std::vector<double> scores = softmax(logits + t * width_, width_);
        std::vector<size_t> best(vocab_size_);  // the model may have more rows than the vocabulary
        std::iota(best.begin(), best.end(), size_t{0});
        const auto end = best.begin() + std::min(n_masked, best.size());
        std::partial_sort(best.begin(), end, best.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
        json tokens = json::array();
        for (auto id = best.begin(); id != end; ++id)
            tokens.push_back(scored("token", token(static_cast<int64_t>(*id)), scores[*id]));
        masks.push_back(tokens);
    }
    return masks;
}

// Gives the result of the question-answering pipeline of transformers 4 for a context that is not cut.
json text_answers::part_of_context(const float *starts, const float *ends, const text_row &row) const {
    const auto is_context = [&](size_t t) { return row.types[t] == 1 && row.in_text(t); };
    size_t begin = 0;
    while (begin < row.ids.size() && !is_context(begin)) ++begin;
    size_t end = begin;
    while (end < row.ids.size() && is_context(end)) ++end;
    scored_tokens best = best_answer(starts, ends, begin, end);
    json answer = {{"answer", ""}, {"begin", 0}, {"end", 0}};  // for an empty context
    if (best.begin < best.end) {
        while (best.begin > begin && continues_word(row, best.begin, row.second)) --best.begin;
        while (best.end < end && continues_word(row, best.end, row.second)) ++best.end;
        answer = part("answer", row.second, row.begins[best.begin], row.ends[best.end - 1]);
    }
    answer["score"] = six_digits(best.score);
    return answer;
}

json text_answers::answer(size_t i, const text_row &row) const {
    json answer = of_kind(i, row);
    if (row.cut) answer["cut"] = true;
    return answer;
}

json text_answers::of_kind(size_t i, const text_row &row) const {
    const float *const values = values_.data() + i * stride_;
    switch (kind_) {
        case kind::one_label:
            return one_label(values);
        case kind::any_labels: {
            json scores;
            for (size_t k = 0; k < width_; ++k) scores[labels_[k]] = six_digits(sigmoid(values[k]));
            return {{"scores", scores}};
        }
        case kind::value:
            return {{"score", width_ == 1 ? json(values[0]) : json(std::vector(values, values + width_))}};
        case kind::word_labels:
            return {{"words", word_labels(values, row)}};
        case kind::masked_tokens:
            return {{"masks", masked_tokens(values, row)}};
        case kind::part_of_context:
            return part_of_context(values, values + batch_ * stride_, row);
        case kind::vector:
            return {{"pooled", std::vector(values, values + width_)}};
    }
    return {};
}

}  // namespace ss1::apps
