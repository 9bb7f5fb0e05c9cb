// SPDX-License-Identifier: Apache-2.0
// The normalizer of a tokenizer.json: steps that change a text before it is split.
#pragma once
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "text/charsmap.hpp"
#include "text/traced_text.hpp"

namespace ss1 {

struct normalizer_step {
    void (*run)(const normalizer_step &step, traced_text &text, traced_text &spare);
    std::string pattern, content;      // Replace, Prepend
    size_t least = 0;                  // Replace: this many white spaces or more instead of the pattern; 0: pattern
    bool only_blanks = false;          // of these, only U+0020
    bool left = false, right = false;  // Strip
    word_rules words;                  // BertNormalizer
    bool clean = true;                 // BertNormalizer
    std::shared_ptr<const charsmap> mapping;  // Precompiled
};

struct normalizer {
    std::vector<normalizer_step> steps;
    bool lowers = false;  // the file has a Lowercase, alone or in its outermost list

    void run(traced_text &text, traced_text &spare) const {
        for (const normalizer_step &step : steps) {
            step.run(step, text, spare);
            if (text.text.size() > longest_text) throw std::bad_alloc();  // steps could double it again and again
        }
    }
};

// Reads the member `normalizer` of `root`, the content of the tokenizer.json `path`.
ss1_status read_normalizer(const json &root, const std::string &path, normalizer &out);

// Puts a Lowercase first unless the file has one, as do_lower_case of sentence-transformers does.
void lower_first(normalizer &out);

// A BertNormalizer that cleans.
normalizer bert_normalizer(const word_rules &rules);

}  // namespace ss1
