// SPDX-License-Identifier: Apache-2.0
// Turns texts into vectors with a model and its tokenizer.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/handles.hpp"

namespace ss1::apps {

// As ss1_encode_args.
struct encode_settings {
    std::string output;  // "": sentence_embedding
    std::optional<std::string> prompt;
    size_t max_tokens = 0, batch_tokens = 0, dimensions = 0;
};

class encoder {
  public:
    encoder(const context_handle &context, const std::string &directory, const ss1_model_options &options)
        : model_(load_model(context, directory, options)), tokenizer_(load_tokenizer(context, directory)) {}

    const model_handle &model() const { return model_; }
    size_t width(const encode_settings &settings) const;  // of a row; refuses more dimensions than the output has
    std::vector<float> encode(std::span<const std::string> texts,
                              const encode_settings &settings) const;  // [texts, width]
    // Logits of a CrossEncoder for pairs of texts, and their scores.
    struct judgements {
        std::vector<float> logits, scores;
    };
    judgements judge(std::span<const std::string> texts, std::span<const std::string> second,
                     encode_settings settings) const;

  private:
    void run(std::span<const std::string> texts, std::span<const std::string> second, const encode_settings &settings,
             float *y, float *scores) const;

    model_handle model_;
    tokenizer_handle tokenizer_;
};

// Refuses rows of `width` numbers for the lines of a file behind the first `before`, if one is infinite or NaN.
void refuse_not_finite(std::span<const float> rows, size_t width, const std::string &file, size_t before);

}  // namespace ss1::apps
