// SPDX-License-Identifier: Apache-2.0
// What a sentence-transformers directory adds to a transformer: how texts are prepared, and the modules that make one
// vector of the hidden states.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_shapes.hpp"
#include "op/pooling.hpp"
#include "ss1/ss1.h"

namespace ss1 {

// A module behind the pooling. Tensors of a module have its folder as a prefix: "2_Dense.linear.weight".
struct sentence_module {
    enum class kind { dense, layer_norm, normalize };

    kind what;
    std::string folder;
    size_t in = 0, out = 0;  // values of a row; unknown (0) for normalize
    bool has_bias = true;    // dense
    ss1_activation activation = SS1_ACTIVATION_TANH;

    bool has_tensors() const noexcept { return what != kind::normalize; }
    linear_shape layer() const { return {folder + ".linear", in, out, has_bias, false}; }
};

struct sentence_prompt {
    std::string name, text;
};

struct sentence_config {
    std::string root;            // the directory, for messages; "": without modules.json
    std::string pooling_folder;  // for messages
    std::string folder;          // of the transformer and its tokenizer; "": the directory itself
    bool is_static = false;      // StaticEmbedding in place of a transformer: config.json does not count
    size_t max_tokens = 0;       // max_seq_length; 0: the limit of tokenizer and transformer
    bool lower_case = false;
    std::vector<pooling_mode> pooling;  // empty: the directory has no pooling, and the model no sentence_embedding
    word_pooling words = word_pooling::none;  // SPLADE: pools the scores of words instead
    bool log1p_twice = false;
    size_t pooled_width = 0;  // of one mode; 0: the file does not say
    bool include_prompt = true;
    std::vector<sentence_module> modules;
    size_t truncate_dim = 0;  // 0: all
    std::vector<sentence_prompt> prompts;
    std::string default_prompt;  // the name, "": none
    std::string similarity = "cosine";
    std::string score_activation;  // of a CrossEncoder's logits, a Python path; "": none is given

    bool pools() const noexcept { return !pooling.empty() || words != word_pooling::none; }
    bool normalizes() const noexcept {
        return !modules.empty() && modules.back().what == sentence_module::kind::normalize;
    }
};

// Reads modules.json and the files that it names. Without modules.json nothing is changed.
// @return SS1_OK; SS1_ERROR_IO; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED, by name.
ss1_status sentence_config_read(const std::string &directory, sentence_config &out);

// Checks that each module takes what the one before it gives, from rows of `width` on: hidden states or scores of
// words. `size` receives the width of the sentence embedding.
ss1_status sentence_check_widths(const sentence_config &config, size_t width, size_t &size);

// Finds the activation that a Python path of PyTorch ends with: "torch.nn.modules.activation.Tanh". Other paths name
// code of the model, which sentence-transformers runs only with trust_remote_code. `where` begins the message.
ss1_status module_activation(std::string_view path, const std::string &where, ss1_activation &out);

// Appends the tensors of the modules.
void add_sentence_tensors(const sentence_config &config, std::vector<tensor_spec> &tensors);

}  // namespace ss1
